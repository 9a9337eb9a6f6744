package bolt

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"cloudsettle/core"
)

// Tasks implements core.TaskReader.
func (r *reader) Tasks(ctx context.Context, p core.Page) iter.Seq2[core.Task, error] {
	return func(yield func(core.Task, error) bool) {
		if r.over {
			yield(core.Task{}, errOver)
			return
		}
		left := p.Limit
		for key := range r.scan(tasksByDue, nil, afterKey(p.After), ascending) {
			_, id, _ := strings.Cut(string(key), "/")
			t, err := r.task(id)
			if !yield(t, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

func (r *reader) task(id string) (core.Task, error) {
	return find(r, tasks, "task", id, decodeJSON[core.Task])
}

// TaskDue implements core.TaskReader.
func (r *reader) TaskDue(_ context.Context, kind string, now time.Time) (bool, error) {
	if r.over {
		return false, errOver
	}
	for range r.freeTasks(kind, utc(now)) {
		return true, nil
	}
	return false, nil
}

// PutTask implements core.TaskWriter. It replaces tasks of the same id.
func (t *txn) PutTask(_ context.Context, tasks ...core.Task) error {
	for _, task := range tasks {
		task.LeasedUntil, task.Holder = time.Time{}, ""
		if err := t.putTask(task); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) putTask(task core.Task) error {
	task.DueAt, task.LeasedUntil = utc(task.DueAt), utc(task.LeasedUntil)
	task.CreatedAt = utc(task.CreatedAt)
	if err := t.unlist(task.ID); err != nil {
		return err
	}
	return t.enlist(task)
}

// enlist stores a task with its places in both orders.
func (t *txn) enlist(task core.Task) error {
	if err := t.put(tasks, "task", encodeJSON(task), task.ID); err != nil {
		return err
	}
	if err := t.point(tasksByDue, "task", "", task.Key()); err != nil {
		return err
	}
	return t.point(tasksByFree, "task", "", task.Kind, freeKey(task))
}

// unlist removes the places of the stored task in both orders, if there is one.
func (t *txn) unlist(id string) error {
	value, err := t.lookup(tasks, id)
	if err != nil || value == nil {
		return err
	}
	before, err := decodeJSON[core.Task](value)
	if err != nil {
		return fmt.Errorf("bolt: task %q: %w", id, err)
	}
	if err := t.remove(tasksByDue, "task", before.Key()); err != nil {
		return err
	}
	return t.remove(tasksByFree, "task", before.Kind, freeKey(before))
}

// freeKey is the place of a task in the order in which tasks of its kind
// become free: when it is due, or when its lease runs out.
func freeKey(t core.Task) string {
	if t.LeasedUntil.After(t.DueAt) {
		t.DueAt = t.LeasedUntil
	}
	return t.Key()
}

// LeaseTasks implements core.TaskWriter. It leaves Attempts to the caller.
func (t *txn) LeaseTasks(
	_ context.Context, kind string, l core.Lease, limit int,
) ([]core.Task, error) {
	if t.over {
		return nil, errOver
	}
	var free []core.Task
	for id := range t.freeTasks(kind, utc(l.From)) {
		if len(free) >= limit {
			break
		}
		task, err := t.task(id)
		if err != nil {
			return nil, err
		}
		free = append(free, task)
	}
	for i := range free {
		if err := t.unlist(free[i].ID); err != nil {
			return nil, err
		}
		free[i].LeasedUntil, free[i].Holder = utc(l.Until), l.Holder
		if err := t.enlist(free[i]); err != nil {
			return nil, err
		}
	}
	return free, nil
}

// freeTasks yields the ids of the tasks of a kind that are due and not leased.
func (r *reader) freeTasks(kind string, now time.Time) iter.Seq[string] {
	return func(yield func(string) bool) {
		prefix := prefixOf(kind)
		// Keys of tasks that become free at now begin with latest; "0" follows "/".
		latest := string(prefix) + strings.TrimSuffix(core.Task{DueAt: now}.Key(), "/") + "0"
		for key := range r.scan(tasksByFree, prefix, nil, ascending) {
			_, id, _ := strings.Cut(string(key[len(prefix):]), "/")
			if string(key) >= latest || !yield(id) {
				return
			}
		}
	}
}

// PutLeased implements core.TaskWriter.
func (t *txn) PutLeased(_ context.Context, task core.Task) (bool, error) {
	if held, err := t.holds(task); err != nil || !held {
		return false, err
	}
	return true, t.putTask(task)
}

// FinishTask implements core.TaskWriter.
func (t *txn) FinishTask(_ context.Context, task core.Task) (bool, error) {
	if held, err := t.holds(task); err != nil || !held {
		return false, err
	}
	if err := t.unlist(task.ID); err != nil {
		return false, err
	}
	return true, t.remove(tasks, "task", task.ID)
}

// holds reports whether a task is stored with the same holder.
func (t *txn) holds(task core.Task) (bool, error) {
	stored, err := t.task(task.ID)
	if errors.Is(err, core.ErrNotFound) {
		return false, nil
	}
	return err == nil && task.Holder != "" && stored.Holder == task.Holder, err
}
