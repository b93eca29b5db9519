-- grain: one row per item price of the catalog map
-- reads: ref_catalog_plans, raw_m3ter__plans, raw_m3ter__plan_templates
-- why: currency and product live on the template; a code that m3ter lacks leaves plan_id NULL for the rule to judge
create or replace table ref_plan_targets as
select c.item_price, c.plan as plan_code, p.id as plan_id, coalesce(p.productId, t.productId) as product_id, t.currency,
    c.replace_on
from ref_catalog_plans as c
left join raw_m3ter__plans as p on p.code = c.plan
left join raw_m3ter__plan_templates as t on t.id = p.planTemplateId
qualify row_number() over (partition by c.item_price order by p.id) = 1
