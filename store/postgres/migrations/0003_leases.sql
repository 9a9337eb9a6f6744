-- Replicas take leases, and what is done under one that was lost has no effect.

-- +goose Up

alter table tasks add column holder text not null default '';

alter table settlement_runs add column ranges integer not null default 0;

create table leases (
  name     text collate "C" primary key,
  holder   text not null,
  from_at  timestamptz not null,
  until_at timestamptz not null
);
comment on table leases is 'What one replica at a time does, and which has it until when.';
