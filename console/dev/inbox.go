package dev

import (
	"context"
	"sync"
	"time"

	"cloudsettle/core"
)

// maxMessages bounds the inbox: the newest are kept.
const maxMessages = 200

// Message is a mail as it arrived.
type Message struct {
	core.Mail

	At time.Time `json:"at"`
}

// Inbox keeps mails instead of sending them. It is lost when the program ends.
type Inbox struct {
	now func() time.Time

	mu       sync.Mutex
	messages []Message // oldest first
}

var _ core.Mailer = (*Inbox)(nil)

// NewInbox returns an empty inbox.
func NewInbox(now func() time.Time) *Inbox { return &Inbox{now: now} }

// Send keeps m. It never fails.
func (i *Inbox) Send(_ context.Context, m core.Mail) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.messages) == maxMessages {
		i.messages = append(i.messages[:0], i.messages[1:]...)
	}
	i.messages = append(i.messages, Message{Mail: m, At: i.now()})
	return nil
}

// Messages returns what is in the inbox, newest first; that of one recipient
// if to is not empty.
func (i *Inbox) Messages(to string) []Message {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := make([]Message, 0, len(i.messages))
	for n := len(i.messages) - 1; n >= 0; n-- {
		if m := i.messages[n]; to == "" || m.To == to {
			out = append(out, m)
		}
	}
	return out
}
