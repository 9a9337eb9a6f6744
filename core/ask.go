package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cloudsettle/core/marketplace"
)

// maxAsked bounds the subscriptions that one callback may ask about. Huawei
// documents 100 instance ids per queryInstance.
const maxAsked = 100

// answer answers a marketplace that asks about subscriptions.
func (a *application) answer(ctx context.Context) (Outcome, error) {
	if len(a.ev.Subjects) > maxAsked {
		return Outcome{Result: marketplace.Refused, Reason: fmt.Sprintf("more than %d instances", maxAsked)}, nil
	}
	out := Outcome{Result: marketplace.Answered}
	for _, subject := range a.ev.Subjects {
		sub, err := a.byName(ctx, subject)
		if err != nil {
			return Outcome{}, err
		}
		answer := Answer{Subject: subject}
		if sub.ID != "" {
			answer.Subscription = &sub
			if sub.Known() {
				answer.Landing = a.landingPath(sub.ID, a.ev.Kind)
			}
		}
		out.Answers = append(out.Answers, answer)
	}
	return out, nil
}

// admit decides whether a subscription may be entered or changed now.
func (a *application) admit(ctx context.Context) (Outcome, error) {
	sub, err := a.byName(ctx, a.ev.Subject)
	switch {
	case err != nil:
		return Outcome{}, err
	case sub.ID == "" || !sub.Known():
		return Outcome{Result: marketplace.Refused, Reason: "no such subscription"}, nil
	case sub.Status == marketplace.StatusFrozen || sub.Status == marketplace.StatusEnded:
		return Outcome{Result: marketplace.Refused, Subscription: &sub, Reason: "the subscription is " + string(sub.Status)}, nil
	}
	return a.about(sub, marketplace.Answered), nil
}

// taskComplete finishes an event that could not be completed in time.
const taskComplete = "complete"

// completion is the payload of such a task.
type completion struct {
	Callback marketplace.CallbackID `json:"callback"`
	Event    marketplace.Event      `json:"event"`
}

// postpone accepts an event that could not be completed: its names are taken,
// so that the answer can name the subscription, and a task does the rest.
func (a *application) postpone(ctx context.Context, why error) (Outcome, error) {
	before, err := a.find(ctx)
	if err != nil {
		return Outcome{}, err
	}
	reserve := a.ev
	reserve.Kind, reserve.Key, reserve.Rank, reserve.Account = marketplace.Linked, "", "", ""
	sub, result := marketplace.Decide(before, reserve, a.cb.ReceivedAt, a.entry.ID)
	if result == marketplace.Applied || result == marketplace.Waiting {
		if sub, err = a.save(ctx, before, sub); err != nil {
			return Outcome{}, err
		}
	}
	payload, err := json.Marshal(completion{Callback: a.entry.ID, Event: a.ev})
	if err != nil {
		return Outcome{}, err
	}
	now := a.Now()
	task := Task{
		ID: a.NewID("task"), Kind: taskComplete, DueAt: now.Add(backoff(1)), Payload: payload,
		CreatedAt: now, LastError: errorClass(why),
	}
	return Outcome{Result: marketplace.Processing, Subscription: &sub}, a.tx.PutTask(ctx, task)
}

// errorClass names an error without what a provider may have put into it.
func errorClass(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	case errors.Is(err, ErrInvalid):
		return "invalid"
	default:
		return "failed"
	}
}
