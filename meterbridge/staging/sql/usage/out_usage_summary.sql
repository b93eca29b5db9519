-- grain: one meter and account
-- reads: stg_usage, chk_usage_rejects
-- why: what a run's summary shows: how many measurements go, how many do not, over which days
create or replace table out_usage_summary as
select
    coalesce(stg_usage.meter, '') as meter,
    coalesce(stg_usage.account, '') as account,
    count(*) - count(rejects.number) as measurements,
    count(rejects.number) as rejected,
    min(stg_usage.ts::date) filter (where rejects.number is null) as first_day,
    max(stg_usage.ts::date) filter (where rejects.number is null) as last_day
from stg_usage
left join chk_usage_rejects as rejects on stg_usage.number = rejects.number
group by all
order by measurements desc, meter, account
