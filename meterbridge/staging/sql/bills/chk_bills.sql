-- grain: one row per m3ter bill read in this run that no rule can judge, with what it misses or has in a wrong form
-- reads: raw_m3ter__bills, raw_m3ter__bill_lines
-- why: a broken bill is set aside by name and stops no other; of one that is deleted the ledger's own facts stand here
-- severity: warn
create or replace table chk_bills as
with line_gaps as (
    select billId as id, unnest([
        case when lineItemType is null then 'lineItemType' end,
        case when try_cast(convertedSubtotal as decimal(38, 12)) is null then 'convertedSubtotal' end,
        case when try_cast(coalesce(quantity, '0') as decimal(38, 12)) is null then 'quantity' end,
        case when try_cast(coalesce(units, '0') as decimal(38, 12)) is null then 'units' end,
        case when not json_valid(coalesce(segment, '{}')) then 'segment' end,
        case when try_cast(coalesce(servicePeriodStartDate, '2000-01-01') as timestamptz) is null
            then 'servicePeriodStartDate' end,
        case when try_cast(coalesce(servicePeriodEndDate, '2000-01-01') as timestamptz) is null
            then 'servicePeriodEndDate' end
    ]) as gap
    from raw_m3ter__bill_lines
),
lines as (select id, string_agg(distinct gap, ', ' order by gap) as gaps from line_gaps where gap is not null group by all)
select b.id, concat_ws(', ',
    case when b.status is null then 'status' end,
    case when b.accountId is null then 'accountId' end,
    case when b.currency is null then 'currency' end,
    case when try_cast(b.version as bigint) is null then 'version' end,
    case when try_cast(b.billDate as date)::varchar is distinct from b.billDate or b.billDate is null
        then 'billDate' end,
    case when try_cast(coalesce(b.startDateTimeUTC, '2000-01-01') as timestamptz) is null then 'startDateTimeUTC' end,
    case when try_cast(coalesce(b.endDateTimeUTC, '2000-01-01') as timestamptz) is null then 'endDateTimeUTC' end,
    case when try_cast(coalesce(b.billTotal, '0') as decimal(38, 12)) is null then 'billTotal' end,
    l.gaps
) as problem
from raw_m3ter__bills as b
left join lines as l on l.id = b.id
where b.status is distinct from 'DELETED' and problem <> ''
