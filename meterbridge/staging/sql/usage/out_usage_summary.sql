-- grain: one meter and account; lines that are no row have neither
-- reads: stg_usage, stg_usage_lines, chk_usage_rejects
-- why: what a run's summary shows: how many measurements go, how many do not, over which days
create or replace table out_usage_summary as
with counted as (
    select
        coalesce(stg_usage.meter, '') as meter,
        coalesce(stg_usage.account, '') as account,
        case when rejects.number is null then stg_usage.ts::date end as day,
        (rejects.number is null)::bigint as goes,
        (rejects.number is not null)::bigint as stays
    from stg_usage
    left join chk_usage_rejects as rejects on stg_usage.number = rejects.number
    union all
    select '', '', null, 0, lines from stg_usage_lines
)
select
    meter,
    account,
    sum(goes)::bigint as measurements,
    sum(stays)::bigint as rejected,
    min(day) as first_day,
    max(day) as last_day
from counted
group by all
order by measurements desc, meter, account
