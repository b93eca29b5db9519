-- grain: one row per customer without an account and free m3ter account that looks like its own
-- reads: int_alike, ref_accounts
-- why: an account that looks like several customers is nobody's: all of them count, those with an account of their own, too
create or replace table int_similar as
with looks as (
    select account_id, list(distinct customer_id order by customer_id) as customers from int_alike group by all
)
select a.*, l.customers
from int_alike as a
join looks as l on l.account_id = a.account_id
where a.customer_id not in (select customer_id from ref_accounts)
