package awssim

import (
	"context"
	"crypto/md5" // #nosec -- the checksum that SQS sends along
	"encoding/hex"
	"strconv"
	"sync"
	"time"
)

// queue is the part of SQS that a reader needs. A message that is received and
// not deleted comes again.
type queue struct {
	now     func() time.Time
	hideFor time.Duration

	mu       sync.Mutex
	messages []*queued
	changed  chan struct{} // closed at each change
}

type queued struct {
	id, body    string
	sentAt      time.Time
	hiddenUntil time.Time
	received    int
}

func newQueue(now func() time.Time, hideFor time.Duration) *queue {
	return &queue{now: now, hideFor: hideFor, changed: make(chan struct{})}
}

func (q *queue) put(body string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = append(q.messages, &queued{id: uuid(), body: body, sentAt: q.now()})
	q.signal()
}

func (q *queue) signal() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// receive waits up to wait for messages and hides what it returns.
func (q *queue) receive(ctx context.Context, most int, wait time.Duration) []map[string]any {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		q.mu.Lock()
		out, changed := q.visible(most), q.changed
		q.mu.Unlock()
		if len(out) > 0 {
			return out
		}
		again := time.NewTimer(q.hideFor)
		select {
		case <-changed:
		case <-again.C:
		case <-timeout.C:
			again.Stop()
			return nil
		case <-ctx.Done():
			again.Stop()
			return nil
		}
		again.Stop()
	}
}

func (q *queue) visible(most int) []map[string]any {
	var out []map[string]any
	now := time.Now() // hiding is a matter of real seconds, whatever the program's clock says
	for _, m := range q.messages {
		if len(out) == most || now.Before(m.hiddenUntil) {
			continue
		}
		m.received++
		m.hiddenUntil = now.Add(q.hideFor)
		sum := md5.Sum([]byte(m.body)) // #nosec -- see the import
		out = append(out, map[string]any{
			"MessageId": m.id, "ReceiptHandle": m.id, "Body": m.body, "MD5OfBody": hex.EncodeToString(sum[:]),
			"Attributes": map[string]string{"SentTimestamp": strconv.FormatInt(m.sentAt.UnixMilli(), 10)},
		})
	}
	return out
}

func (q *queue) remove(handle string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, m := range q.messages {
		if m.id == handle {
			q.messages = append(q.messages[:i:i], q.messages[i+1:]...)
			q.signal()
			return
		}
	}
}

// wait returns when the queue is empty.
func (q *queue) wait(ctx context.Context) error {
	for {
		q.mu.Lock()
		left, changed := len(q.messages), q.changed
		q.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
