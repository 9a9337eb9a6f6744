package postgres

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
)

const taskColumns = "t.id, t.kind, t.due_at, t.leased_until, t.attempts, t.last_error, t.payload, t.created_at, t.holder"

func scanTask(rows pgx.Rows, t *core.Task) error {
	err := rows.Scan(&t.ID, &t.Kind, into(&t.DueAt), into(&t.LeasedUntil), &t.Attempts, &t.LastError, &t.Payload, into(&t.CreatedAt), &t.Holder)
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
		insert into tasks (id, kind, due_at, free_at, attempts, last_error, payload, created_at)
		select id, kind, due_at, due_at, attempts, last_error, payload, created_at
		from unnest($1::text[], $2::text[], $3::timestamptz[], $4::int[], $5::text[], $6::bytea[], $7::timestamptz[])
			as t (id, kind, due_at, attempts, last_error, payload, created_at)
		on conflict (id) do update set kind = excluded.kind, due_at = excluded.due_at,
			leased_until = null, holder = '', free_at = excluded.free_at, attempts = excluded.attempts,
			last_error = excluded.last_error, payload = excluded.payload, created_at = excluded.created_at`,
		c.ids, c.kinds, c.due, c.attempts, c.errors, c.payloads, c.created)
}

// taskArrays are the columns of several tasks.
type taskArrays struct {
	ids, kinds, errors []string
	due                []time.Time
	created            []*time.Time
	attempts           []int32
	payloads           [][]byte
}

func (c *taskArrays) add(t *core.Task) {
	c.ids, c.kinds, c.errors = append(c.ids, t.ID), append(c.kinds, t.Kind), append(c.errors, clean(t.LastError))
	c.due, c.created = append(c.due, utc(t.DueAt)), append(c.created, orNull(t.CreatedAt))
	c.attempts, c.payloads = append(c.attempts, int32(t.Attempts)), append(c.payloads, append([]byte{}, t.Payload...)) // #nosec -- tries of one task
}

// LeaseTasks implements core.TaskWriter. It leaves Attempts to the caller, and
// tasks that another replica is leasing at the moment to that one.
func (t *txn) LeaseTasks(
	ctx context.Context, kind string, l core.Lease, limit int,
) ([]core.Task, error) {
	tasks, err := all(ctx, &t.reader, scanTask, `
		with free as (
			select id, free_at as freed_at from tasks where kind = $1 and free_at <= $2
			order by free_at, id limit $4 for update skip locked
		), leased as (
			update tasks t set leased_until = $3, holder = $5, free_at = greatest(t.due_at, $3)
			from free where t.id = free.id
			returning t.*, free.freed_at
		)
		select `+taskColumns+` from leased t order by t.freed_at, t.id`,
		clean(kind), utc(l.From), utc(l.Until), max(limit, 0), clean(l.Holder))
	t.wrote = t.wrote || len(tasks) > 0
	return tasks, err
}

// PutLeased implements core.TaskWriter.
func (t *txn) PutLeased(ctx context.Context, task core.Task) (bool, error) {
	if err := checkKey("task", task.Kind, task.ID); err != nil {
		return false, err
	}
	n, err := t.change(ctx, `
		update tasks set kind = $3, due_at = $4, leased_until = $5, free_at = greatest($4::timestamptz, $5::timestamptz), attempts = $6, last_error = $7,
			payload = $8, created_at = $9
		where id = $1 and holder = $2 and holder <> ''`,
		task.ID, clean(task.Holder), task.Kind, utc(task.DueAt), orNull(task.LeasedUntil), int32(task.Attempts), // #nosec -- tries of one task
		clean(task.LastError), append([]byte{}, task.Payload...), orNull(task.CreatedAt))
	return n > 0, err
}

// FinishTask implements core.TaskWriter.
func (t *txn) FinishTask(ctx context.Context, task core.Task) (bool, error) {
	if err := checkKey("task", task.ID); err != nil {
		return false, err
	}
	n, err := t.change(ctx, "delete from tasks where id = $1 and holder = $2 and holder <> ''", task.ID, clean(task.Holder))
	return n > 0, err
}
