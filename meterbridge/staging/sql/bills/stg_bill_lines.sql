-- grain: one row per line of a bill read in this run
-- reads: raw_m3ter__bill_lines, raw_m3ter__codes, raw_m3ter__plans, stg_bills
-- why: lines name plans, pricings and aggregations by id, the catalog by code; amounts stay text
create or replace table stg_bill_lines as
select
    l.billId as bill_id,
    l.id,
    coalesce(try_cast(l.sequenceNumber as bigint), 0) as sequence,
    l.lineItemType as line_item_type,
    coalesce(l.description, '') as description,
    l.convertedSubtotal as amount,
    coalesce(l.quantity, '0') as quantity,
    coalesce(l.units, '0') as units,
    coalesce(l.unit, '') as unit,
    l.productId as product_id,
    l.productCode as product_code,
    l.productName as product_name,
    l.planId as plan_id,
    plan.code as plan_code,
    l.pricingId as pricing_id,
    pricing.code as pricing_code,
    l.aggregationId as aggregation_id,
    aggregation.code as aggregation_code,
    l.compoundAggregationId as compound_aggregation_id,
    compound.code as compound_aggregation_code,
    coalesce(l.segment, '{}') as segment,
    l.contractId as contract_id,
    l.chargeId as charge_id,
    l.commitmentId as commitment_id,
    l.balanceId as balance_id,
    l.counterId as counter_id,
    l.referencedLineItemId as referenced_line_id,
    l.childAccountId as child_account_id,
    l.servicePeriodStartDate as service_start,
    l.servicePeriodEndDate as service_end,
    coalesce(l.servicePeriodStartDate::timestamptz >= b.end_utc::timestamptz, false) as in_advance
from raw_m3ter__bill_lines as l
join stg_bills as b on b.id = l.billId
left join raw_m3ter__plans as plan on plan.id = l.planId
left join raw_m3ter__codes as pricing on pricing.kind = 'pricing' and pricing.id = l.pricingId
left join raw_m3ter__codes as aggregation on aggregation.kind = 'aggregation' and aggregation.id = l.aggregationId
left join raw_m3ter__codes as compound on compound.kind = 'compound_aggregation' and compound.id = l.compoundAggregationId
