package main

import (
	"context"
	"fmt"
	"time"

	gomail "github.com/wneessen/go-mail"

	"cloudsettle/core"
)

// mailTimeout bounds one delivery; it is below the lease of a task.
const mailTimeout = 15 * time.Second

// mailer returns where mail goes: the inbox in dev, else the SMTP server.
func (a *app) mailer() core.Mailer {
	if a.dev != nil {
		return a.dev.inbox
	}
	return smtpMailer{a.cfg.SMTP}
}

// smtpMailer sends mail through a server.
type smtpMailer struct{ SMTP }

// Send delivers m. Without a server it fails, so that mail stays queued until
// one is configured.
func (s smtpMailer) Send(ctx context.Context, m core.Mail) error {
	if s.Host == "" {
		return fmt.Errorf("smtp.host is not configured: %w", core.ErrUnavailable)
	}
	msg := gomail.NewMsg()
	if err := msg.From(s.From); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	if err := msg.To(m.To); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	msg.Subject(m.Subject)
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	opts := []gomail.Option{gomail.WithPort(s.Port), gomail.WithTimeout(mailTimeout), gomail.WithTLSPolicy(gomail.TLSMandatory)}
	if s.Username != "" {
		opts = append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(s.Username), gomail.WithPassword(s.Password))
	}
	client, err := gomail.NewClient(s.Host, opts...)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	return client.DialAndSendWithContext(ctx, msg)
}
