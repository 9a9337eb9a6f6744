package postgres

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
)

const taskColumns = "t.id, t.kind, t.due_at, t.leased_until, t.attempts, t.last_error, t.payload, t.created_at"

func scanTask(rows pgx.Rows, t *core.Task) error {
	err := rows.Scan(&t.ID, &t.Kind, into(&t.DueAt), into(&t.LeasedUntil), &t.Attempts, &t.LastError, &t.Payload, into(&t.CreatedAt))
	t.Payload = orNil(t.Payload)
	return err
}

// Tasks implements core.TaskReader.
func (r *reader) Tasks(ctx context.Context, p core.Page) iter.Seq2[core.Task, error] {
	return list(ctx, r, p, listing[core.Task]{
		"select " + taskColumns + " from tasks t where (t.due_at, t.id) > ($1, $2) order by t.due_at, t.id limit $3",
		afterTask, scanTask, func(t *core.Task) string { return t.Key() },
	})
}

// beforeAll is before every time that is stored.
var beforeAll = time.Date(-4000, 1, 1, 0, 0, 0, 0, time.UTC)

// afterTask is where a page of tasks begins; see core.Task.Key.
func afterTask(after string) ([]any, error) {
	if after == "" {
		return []any{beforeAll, ""}, nil
	}
	due, id, _ := strings.Cut(after, "/")
	at, err := time.Parse(time.RFC3339Nano, due)
	if err != nil {
		return nil, core.Invalid("invalid_cursor", "%q is not the place of a task", after)
	}
	return []any{at, clean(id)}, nil
}

// TaskDue implements core.TaskReader.
func (r *reader) TaskDue(ctx context.Context, kind string, now time.Time) (due bool, err error) {
	err = r.ask(ctx, query{
		"select from tasks where kind = $1 and free_at <= $2 limit 1", []any{clean(kind), utc(now)},
		func(rows pgx.Rows) error { due = rows.Next(); return nil },
	})
	return due, err
}

// PutTask implements core.TaskWriter. It replaces tasks of the same id.
func (t *txn) PutTask(_ context.Context, tasks ...core.Task) error {
	if len(tasks) == 0 {
		return nil
	}
	var c taskArrays
	seen := make(map[string]bool, len(tasks))
	for i := range tasks {
		if err := checkKey("task", tasks[i].Kind, tasks[i].ID); err != nil {
			return err
		}
		if seen[tasks[i].ID] { // one statement changes a row once
			if err := t.putTasks(&c); err != nil {
				return err
			}
			c = taskArrays{}
			clear(seen)
		}
		seen[tasks[i].ID] = true
		c.add(&tasks[i])
	}
	return t.putTasks(&c)
}

func (t *txn) putTasks(c *taskArrays) error {
	return t.write(nil, `
		insert into tasks (id, kind, due_at, leased_until, free_at, attempts, last_error, payload, created_at)
		select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::int[],
			$7::text[], $8::bytea[], $9::timestamptz[])
		on conflict (id) do update set kind = excluded.kind, due_at = excluded.due_at,
			leased_until = excluded.leased_until, free_at = excluded.free_at, attempts = excluded.attempts,
			last_error = excluded.last_error, payload = excluded.payload, created_at = excluded.created_at`,
		c.ids, c.kinds, c.due, c.leased, c.free, c.attempts, c.errors, c.payloads, c.created)
}

// taskArrays are the columns of several tasks.
type taskArrays struct {
	ids, kinds, errors []string
	due, free          []time.Time
	leased, created    []*time.Time
	attempts           []int32
	payloads           [][]byte
}

func (c *taskArrays) add(t *core.Task) {
	due := utc(t.DueAt)
	free := due
	if leased := utc(t.LeasedUntil); leased.After(due) {
		free = leased
	}
	c.ids, c.kinds, c.errors = append(c.ids, t.ID), append(c.kinds, t.Kind), append(c.errors, clean(t.LastError))
	c.due, c.free = append(c.due, due), append(c.free, free)
	c.leased, c.created = append(c.leased, orNull(t.LeasedUntil)), append(c.created, orNull(t.CreatedAt))
	c.attempts, c.payloads = append(c.attempts, int32(t.Attempts)), append(c.payloads, append([]byte{}, t.Payload...)) // #nosec -- tries of one task
}

// LeaseTasks implements core.TaskWriter. It leaves Attempts to the caller, and
// tasks that another replica is leasing at the moment to that one.
func (t *txn) LeaseTasks(
	ctx context.Context, kind string, now, until time.Time, limit int,
) ([]core.Task, error) {
	tasks, err := all(ctx, &t.reader, scanTask, `
		with free as (
			select id, free_at as freed_at from tasks where kind = $1 and free_at <= $2
			order by free_at, id limit $4 for update skip locked
		), leased as (
			update tasks t set leased_until = $3, free_at = greatest(t.due_at, $3)
			from free where t.id = free.id
			returning t.*, free.freed_at
		)
		select `+taskColumns+` from leased t order by t.freed_at, t.id`,
		clean(kind), utc(now), utc(until), max(limit, 0))
	t.wrote = t.wrote || len(tasks) > 0
	return tasks, err
}

// DeleteTask implements core.TaskWriter.
func (t *txn) DeleteTask(_ context.Context, id string) error {
	if err := checkKey("task", id); err != nil {
		return err
	}
	return t.write(nil, "delete from tasks where id = $1", id)
}
