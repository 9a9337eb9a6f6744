-- Views for people who read money with SQL: amounts in currency units, days as
-- dates. The program does not use them.

-- +goose Up

create view v_daily_bills as
select 'db_' || (date '1970-01-01' + day) || '_' || workspace as bill,
       date '1970-01-01' + day as day, workspace, site, billing_account, method, subscription, currency, book,
       total / 1000000.0 as total, cloud / 1000000.0 as cloud, arrears / 1000000.0 as arrears,
       (total::numeric - cloud - arrears) / 1000000 as deducted, ledger_seq, sealed_at
from daily_bills
where day between -719162 and 2932896;
comment on view v_daily_bills is 'Daily bills in currency units: total = deducted + cloud + arrears.';

create view v_daily_bill_lines as
select date '1970-01-01' + b.day as day, b.workspace, b.site, b.billing_account, b.currency, l.n as line,
       l.line ->> 0 as item, l.line ->> 1 as variant,
       (l.line ->> 2)::numeric as quantity, (l.line ->> 3)::numeric as unit, (l.line ->> 4)::numeric as price,
       (l.line ->> 5)::numeric / 1000000 as amount,
       case when (l.line ->> 7)::int <> 0 then date '1970-01-01' + (l.line ->> 7)::int end as corrects
from daily_bills b, jsonb_array_elements(b.lines) with ordinality as l (line, n)
where b.day between -719162 and 2932896;
comment on view v_daily_bill_lines is 'The lines of daily bills. A line with a date in corrects is for usage that came late for that day.';

create view v_ledger_postings as
select t.owner as billing_account, t.currency, t.seq, t.at, t.kind, t.ref, t.reason, t.by_whom,
       p.posting ->> 0 as account, (p.posting ->> 1)::numeric / 1000000 as amount
from ledger_transactions t, jsonb_array_elements(t.postings) as p (posting);
comment on view v_ledger_postings is 'Every movement of money. The amounts of one transaction sum to zero.';

create view v_ledger_balances as
select h.owner as billing_account, h.currency, h.seq, b.balance ->> 0 as account,
       (b.balance ->> 1)::numeric / 1000000 as amount
from ledger_heads h, jsonb_array_elements(h.balances) as b (balance);
comment on view v_ledger_balances is 'What every account of every book holds. Cash, vouchers and cards: what can be spent. Arrears: what is owed.';

create view v_metering as
select r.id, r.listing, r.subscription, r.subject, r.account, r.dimension, r.period_start, r.period_end, r.status,
       r.units, r.currency, r.unit_amount / 1000000.0 as unit_amount,
       r.units::numeric * r.unit_amount / 1000000 as amount, r.deadline, r.sent_at, r.attempts, r.provider_id, r.last_error
from meter_records r;
comment on view v_metering is 'What was reported to marketplaces, in units and in currency units.';
