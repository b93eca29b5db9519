-- grain: one row per customer and m3ter account with the same e-mail or name, of which nothing says that it is another's
-- reads: ref_customer_digests, ref_account_digests, raw_m3ter__accounts, raw_m3ter__external_mappings, ref_accounts,
--        ref_taken_accounts, stg_customers
-- why: a company that was in m3ter before us has an account under a code of its own; a second one would split its usage
--      and its bills. An account with another customer's id as its code is that one's. What stands on crowds on both
--      sides is a filler (somebody's own address where one was required) and tells nothing.
create or replace table int_alike as
with customer_marks as (
    select id, 'email ' || email as mark from ref_customer_digests where email is not null
    union
    select id, 'name ' || name as mark from ref_customer_digests where name is not null
),
account_marks as (
    select id, 'email ' || email as mark from ref_account_digests where email is not null
    union
    select id, 'name ' || name as mark from ref_account_digests where name is not null
),
telling as (
    select c.mark
    from (select mark, count(*) as n from customer_marks group by all) as c
    join (select mark, count(*) as n from account_marks group by all) as a on a.mark = c.mark
    where a.n * c.n <= 10000
),
pairs as (
    select c.id as customer_id, a.id as account_id,
        bool_or(starts_with(t.mark, 'email ')) as same_email, bool_or(starts_with(t.mark, 'name ')) as same_name
    from telling as t
    join customer_marks as c on c.mark = t.mark
    join account_marks as a on a.mark = t.mark
    group by all
),
taken as (
    select m3terId as id from raw_m3ter__external_mappings where m3terEntity = 'Account' and externalTable = 'Customer'
    union
    select account_id from ref_accounts where account_id is not null
    union
    select id from ref_taken_accounts
),
codes as (select lower(id) as code from stg_customers),
free as (
    select distinct on (id) * from raw_m3ter__accounts
    where id not in (select id from taken) and lower(code) not in (select code from codes)
)
select p.*, f.code, f.currency, f.parentAccountId as parent_id
from pairs as p join free as f on f.id = p.account_id
