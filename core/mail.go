package core

import (
	"context"
	"encoding/json"
	"fmt"
)

// Mail is one message to one person.
type Mail struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
}

// Mailer sends mail. Send may be called again with the same mail after an
// error, also if it was delivered.
type Mailer interface {
	Send(ctx context.Context, m Mail) error
}

// mailText names a text that customers get.
type mailText string

const (
	mailLocked            mailText = "locked"
	mailSettlementChanged mailText = "settlement_changed"
)

// taskMail sends a mail.
const taskMail = "mail"

// promiseMail promises in tx that a text about a workspace is sent.
func (s *Service) promiseMail(ctx context.Context, tx Tx, to string, text mailText, workspace string) error {
	m := Mail{To: to}
	switch text {
	case mailLocked:
		m.Subject = fmt.Sprintf("[%s] Workspace %s is locked", s.Brand, workspace)
		m.Text = fmt.Sprintf("The marketplace subscription that settles workspace %s was frozen or has ended.\n"+
			"The workspace is locked; its data is kept for 14 days. Choose another settlement to unlock it.\n", workspace)
	case mailSettlementChanged:
		m.Subject = fmt.Sprintf("[%s] Settlement of workspace %s changed", s.Brand, workspace)
		m.Text = fmt.Sprintf("The marketplace subscription that settled workspace %s has ended or was replaced.\n"+
			"Look at the workspace's settlement in your billing center.\n", workspace)
	}
	return s.promise(ctx, tx, taskMail, m)
}

// promise puts a task that is due at once.
func (s *Service) promise(ctx context.Context, tx Tx, kind string, payload any) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	now := s.Now()
	return tx.PutTask(ctx, Task{ID: s.NewID("task"), Kind: kind, DueAt: now, CreatedAt: now, Payload: raw})
}
