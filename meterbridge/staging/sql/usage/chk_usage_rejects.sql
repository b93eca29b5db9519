-- grain: one measurement that must not be sent, with the first reason against it; or lines of a file that are no row
-- reads: stg_usage, stg_usage_lines, int_usage_twins, ref_usage_accounts, ref_usage_meters, ref_usage_closed, ref_usage_places
-- why: what a row says of itself was judged when it landed; here it is held against m3ter, the ledger and its siblings
-- severity: warn
create or replace table chk_usage_rejects as
with rejected as (
    select
        stg_usage.number,
        stg_usage.source_row,
        stg_usage.meter,
        stg_usage.account,
        stg_usage.uid,
        coalesce(stg_usage.reason, meters.reason, accounts.reason, twins.reason, closed.reason) as reason,
        case
            when stg_usage.reason is not null then stg_usage.subject
            when meters.reason is not null then meters.subject
            when accounts.reason is not null then coalesce(accounts.subject, stg_usage.account)
            when twins.reason is not null then twins.subject
            else stg_usage.ts::date::varchar
        end as subject
    from stg_usage
    left join ref_usage_meters as meters on stg_usage.meter = meters.code
    left join ref_usage_accounts as accounts on stg_usage.account = accounts.code
    left join int_usage_twins as twins on stg_usage.number = twins.number
    left join ref_usage_closed as closed
        on stg_usage.meter = closed.meter and stg_usage.account = closed.account
        and stg_usage.ts::date::varchar = closed.day
    where
        stg_usage.reason is not null
        or meters.reason is not null
        or accounts.reason is not null
        or twins.reason is not null
        or closed.reason is not null
),
placed as (
    select rejected.*, places.file, places.line + rejected.source_row - places.first_row as line, places.unit
    from rejected
    asof left join ref_usage_places as places on rejected.source_row >= places.first_row
)
select
    number, source_row, meter, account, uid, reason, subject, file, line, 1 as lines,
    concat_ws(' ', file, unit, line) as place
from placed
union all
select
    -row_number() over (order by file, line), -line, null, null, null, reason, subject, file, line, lines,
    concat_ws(' ', file, case when lines > 1 then 'lines' else 'line' end, line)
    || case when lines > 1 then '-' || line + lines - 1 else '' end
from stg_usage_lines
order by number
