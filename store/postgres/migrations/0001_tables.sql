-- Tables of the first version.
--
-- Rules for all migrations, so that replicas of two versions can run side by
-- side: first a migration adds (expand), then the program writes both and fills
-- in the old rows (migrate), and only a later release removes (contract). A file
-- that was released is never changed.
--
-- Text that is looked up or ordered has the collation "C": order is byte order
-- in every store. Money is a whole number of millionths of a currency unit. A
-- day counts from 1970-01-01, a month is 12 × year + month - 1. An empty text is
-- "none"; a null time is "not yet".

-- +goose Up

create table commits (
  id        bytea   primary key,
  committed boolean not null
);
comment on table commits is 'One row for each recent writing transaction, inserted by it. Whoever lost the reply to a commit looks here whether it happened. Swept.';

create table subscriptions (
  id            text collate "C" primary key,
  rev           bigint not null,
  listing       text collate "C" not null,
  provider      text not null,
  subject       text collate "C" not null,
  also          text[] not null,
  account       text collate "C" not null,
  previous      text not null,
  next          text not null,
  status        text not null,
  sku           text not null,
  quantity      bigint not null,
  trial         boolean not null,
  replaced      boolean not null,
  expires_at    timestamptz,
  created_at    timestamptz,
  last_event_at timestamptz,
  facts         jsonb not null
) with (fillfactor = 85);
comment on table subscriptions is 'What buyers bought. Columns but facts follow from the facts. An empty account: only early facts are known.';

create table names (
  scope  text collate "C" not null,
  name   text collate "C" not null,
  target text collate "C" not null,
  primary key (scope, name)
) with (fillfactor = 85);
comment on table names is 'What marketplaces call things: subscriptions by their subject and other names, cloud accounts by their number. The scope is the kind and the listing. An empty target: a running transaction found nothing there and holds the place.';

create table cloud_accounts (
  id              text collate "C" primary key,
  rev             bigint not null,
  listing         text collate "C" not null,
  provider        text not null,
  provider_id     text collate "C" not null,
  name            text not null,
  billing_account text collate "C" not null,
  subscriptions   text[] not null,
  created_at      timestamptz
) with (fillfactor = 85);
create index cloud_accounts_owner on cloud_accounts (billing_account, id) where billing_account <> '';

create table billing_accounts (
  id                   text collate "C" primary key,
  rev                  bigint not null,
  user_name            text not null,
  email                text not null,
  phone                text not null,
  currency             text not null,
  arbitrary_settlement boolean not null,
  certification        text not null,
  created_at           timestamptz
);

create table logins (
  login   text collate "C" primary key,
  account text collate "C" not null
);
create index logins_account on logins (account);
comment on table logins is 'User names, e-mail addresses and phones of billing accounts, folded.';

create table workspaces (
  id          text collate "C" primary key,
  rev         bigint not null,
  name        text not null,
  site        text not null,
  owner_email text not null,
  opened_by   text not null,
  locked_at   timestamptz,
  created_at  timestamptz
);

create table bindings (
  id              text collate "C" primary key,
  workspace       text collate "C" not null,
  billing_account text collate "C" not null,
  method          text not null,
  subscription    text collate "C" not null,
  from_at         timestamptz,
  to_at           timestamptz,
  cause           text not null,
  by_whom         text not null,
  left_behind     text collate "C" not null
);
create unique index bindings_held on bindings (workspace) where to_at is null;
create index bindings_history on bindings (workspace, id);
create index bindings_account on bindings (billing_account, workspace) where to_at is null and billing_account <> '';
create index bindings_subscription on bindings (subscription, workspace) where to_at is null and subscription <> '';
create index bindings_left on bindings (left_behind, workspace) where to_at is null and left_behind <> '';
comment on table bindings is 'Who paid for a workspace and through what, from when to when. A null to_at: holds now.';

create table claims (
  scope  text collate "C" not null,
  key    text collate "C" not null,
  digest text not null,
  result text not null,
  at     timestamptz,
  primary key (scope, key)
);
comment on table claims is 'Single-use keys that were taken: deliveries, nonces, requests.';

create table callbacks (
  id           text collate "C" primary key,
  listing      text collate "C" not null,
  kind         text not null,
  action       text not null,
  delivery     text not null,
  verified     boolean not null,
  result       text not null,
  reason       text not null,
  effects      text[] not null,
  subscription text collate "C" not null,
  attempts     integer not null,
  received_at  timestamptz,
  method       text not null,
  endpoint     text not null,
  raw_query    bytea not null,
  body         bytea not null,
  event        jsonb
);
create index callbacks_listing on callbacks (listing, id);
comment on table callbacks is 'The journal: every authentic callback as it arrived, and what became of it.';

create table rejections (
  slot         integer primary key,
  id           text collate "C" not null,
  listing      text collate "C" not null,
  kind         text not null,
  action       text not null,
  delivery     text not null,
  verified     boolean not null,
  result       text not null,
  reason       text not null,
  effects      text[] not null,
  subscription text collate "C" not null,
  attempts     integer not null,
  received_at  timestamptz,
  method       text not null,
  endpoint     text not null,
  raw_query    bytea not null,
  body         bytea not null,
  event        jsonb
);
comment on table rejections is 'The last refused callbacks, in a ring of slots.';

create table api_keys (
  id              text collate "C" primary key,
  rev             bigint not null,
  name            text not null,
  role            text not null,
  billing_account text not null,
  digest          text collate "C" not null unique,
  hint            text not null,
  created_at      timestamptz,
  revoked_at      timestamptz
);

create table settings (
  name  text collate "C" primary key,
  value text not null
);

create table tasks (
  id           text collate "C" primary key,
  kind         text collate "C" not null,
  due_at       timestamptz not null,
  leased_until timestamptz,
  free_at      timestamptz not null,
  attempts     integer not null,
  last_error   text not null,
  payload      bytea not null,
  created_at   timestamptz
);
create index tasks_due on tasks (due_at, id);
create index tasks_free on tasks (kind, free_at, id);
comment on table tasks is 'Work promised in a transaction and not done yet. free_at: due, and not leased.';

create table usage (
  day       integer not null,
  workspace text collate "C" not null,
  rev       bigint not null,
  sealed    boolean not null,
  samples   bytea not null,
  primary key (day, workspace)
) partition by range (day);
create index usage_open on usage (day, workspace) where not sealed;
comment on table usage is 'What a workspace reported for a day, packed. One partition for each month; an old one may be detached.';

create table price_books (
  id             text collate "C" primary key,
  zone           text not null,
  currency       text not null,
  effective_from integer not null,
  version        integer not null,
  book           jsonb not null
);

create table daily_bills (
  day             integer not null,
  workspace       text collate "C" not null,
  site            text not null,
  billing_account text collate "C" not null,
  binding         text not null,
  method          text not null,
  subscription    text collate "C" not null,
  currency        text not null,
  book            text not null,
  total           bigint not null,
  cloud           bigint not null,
  arrears         bigint not null,
  usage_rev       bigint not null,
  ledger_seq      bigint not null,
  sealed_at       timestamptz,
  lines           jsonb not null,
  unrated         jsonb,
  deductions      jsonb not null,
  primary key (day, workspace)
) partition by range (day);
create index daily_bills_account on daily_bills (billing_account, day, workspace);
comment on table daily_bills is 'What a workspace''s day came to and what paid for it. Never changes. See v_daily_bills and v_daily_bill_lines.';
comment on column daily_bills.lines is 'Rows of: item, variant, quantity, unit, price, amount in millionths, excludes vouchers (0 or 1), day that is corrected or 0.';
comment on column daily_bills.deductions is 'Rows of: source, amount in millionths.';

create table monthly_bills (
  month           integer not null,
  billing_account text collate "C" not null,
  currency        text collate "C" not null,
  since_day       integer not null,
  since_seq       bigint not null,
  until_day       integer not null,
  until_seq       bigint not null,
  total           bigint not null,
  cloud           bigint not null,
  arrears         bigint not null,
  issued_at       timestamptz,
  due_at          timestamptz,
  workspaces      jsonb not null,
  deductions      jsonb not null,
  primary key (month, billing_account, currency)
);
create index monthly_bills_account on monthly_bills (billing_account, month, currency);
comment on table monthly_bills is 'Sums of daily bills: those before until (a day, and a place in the ledger) that no earlier one has.';

create table credit_notes (
  id              text collate "C" primary key,
  bill            text not null,
  day             integer not null,
  seq             bigint not null,
  billing_account text collate "C" not null,
  currency        text not null,
  method          text not null,
  subscription    text not null,
  total           bigint not null,
  cloud           bigint not null,
  arrears         bigint not null,
  deductions      jsonb not null,
  reason          text not null,
  by_whom         text not null,
  ledger_seq      bigint not null,
  issued_at       timestamptz
);
create index credit_notes_account on credit_notes (billing_account, id);
comment on table credit_notes is 'Corrections of bills. A total below zero gives back.';

create table settlement_runs (
  id          text collate "C" primary key,
  rev         bigint not null,
  kind        text not null,
  period      text not null,
  status      text not null,
  bills       bigint not null,
  waiting     bigint not null,
  waits       jsonb not null,
  error       text not null,
  started_at  timestamptz,
  finished_at timestamptz
);

create table ledger_heads (
  owner    text collate "C" not null,
  currency text collate "C" not null,
  seq      bigint not null,
  hash     bytea not null,
  balances jsonb not null,
  primary key (owner, currency)
) with (fillfactor = 70);
comment on table ledger_heads is 'The ends of books: the last transaction and the balances, rows of account and millionths. See v_ledger_balances.';

create table ledger_transactions (
  owner    text collate "C" not null,
  currency text collate "C" not null,
  seq      bigint not null,
  at       timestamptz,
  kind     text not null,
  ref      text not null,
  reason   text not null,
  by_whom  text not null,
  postings jsonb not null,
  prev     bytea not null,
  hash     bytea not null,
  primary key (owner, currency, seq)
);
comment on table ledger_transactions is 'Movements of money, chained by hashes within a book. Never change. Postings are rows of account and millionths. See v_ledger_postings.';

create table funds (
  id       text collate "C" primary key,
  rev      bigint not null,
  owner    text collate "C" not null,
  kind     text not null,
  currency text not null,
  face     bigint not null,
  from_at  timestamptz,
  until_at timestamptz
);
create index funds_owner on funds (owner, id) where owner <> '';
comment on table funds is 'Vouchers and prepaid cards. What is left of them is in the ledger.';

create table meter_accounts (
  subscription text collate "C" primary key,
  rev          bigint not null,
  currency     text not null,
  unit_amount  bigint not null,
  charged      bigint not null,
  accepted     bigint not null,
  in_flight    bigint not null,
  lost         bigint not null,
  hold         text not null,
  held_at      timestamptz,
  last_accepted text not null,
  accepted_at  timestamptz,
  billed_at    timestamptz
) with (fillfactor = 70);
comment on table meter_accounts is 'What a subscription owes its marketplace and what of it was reported. Accepted, in flight and lost are units.';

create table meter_records (
  id           text collate "C" primary key,
  rev          bigint not null,
  listing      text not null,
  subscription text collate "C" not null,
  dimension    text collate "C" not null,
  period_start timestamptz not null,
  period_end   timestamptz,
  units        bigint not null,
  unit_amount  bigint not null,
  currency     text not null,
  deadline     timestamptz not null,
  sealed_at    timestamptz,
  status       text not null,
  final        boolean not null,
  attempts     integer not null,
  retry_at     timestamptz,
  sent_at      timestamptz,
  doubt        boolean not null,
  provider_id  text not null,
  last_error   text not null,
  resolution   jsonb,
  subject      text not null,
  account      text not null,
  attributes   jsonb,
  unique (subscription, dimension, period_start)
);
create index meter_records_subscription on meter_records (subscription, id) where subscription <> '';
create index meter_records_pending on meter_records (deadline, id) where not final;
comment on table meter_records is 'What is reported to marketplaces, and what they said.';
