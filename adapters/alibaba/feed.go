package alibaba

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cloudsettle/core"
)

// Limits of one poll.
const (
	pageSize = 10  // messages a page, as in the sample; the largest is not documented
	maxPages = 100 // a thousand messages; the next poll takes the rest
)

// handler applies a callback durably.
type handler = func(context.Context, core.Callback) error

// feed pulls the messages that the marketplace could not deliver.
type feed struct {
	adapter  *Adapter
	client   *client
	log      *slog.Logger
	interval time.Duration
}

var _ core.Feed = (*feed)(nil)

// Run polls at once and then in intervals until ctx is done. A poll that fails
// is logged and tried again in the next interval.
func (f *feed) Run(ctx context.Context, handle handler) error {
	t := time.NewTicker(f.interval)
	defer t.Stop()
	for {
		if err := f.poll(ctx, handle); err != nil && ctx.Err() == nil {
			f.log.WarnContext(ctx, "poll of parked messages", "listing", f.adapter.listing, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// poll handles and confirms what is parked. All pages are read first, because
// confirming moves the pages that follow. A message that cannot be handled
// stays and does not hold up the others.
func (f *feed) poll(ctx context.Context, handle handler) error {
	messages, err := f.parked(ctx)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := f.deliver(ctx, m, handle); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			f.log.WarnContext(ctx, "parked message", "listing", f.adapter.listing,
				"action", m.Action, "delivery", m.NotificationRequestID, "error", err)
		}
	}
	return nil
}

func (f *feed) parked(ctx context.Context) ([]notification, error) {
	var all []notification
	for page := 1; page <= maxPages; page++ {
		var got failedNotifications
		err := f.client.call(ctx, "DescribeFailedNotifications", map[string]string{
			"PageNumber": strconv.Itoa(page), "PageSize": strconv.Itoa(pageSize),
		}, &got)
		if err != nil {
			return nil, err
		}
		all = append(all, got.NotificationList...)
		if len(got.NotificationList) == 0 || len(all) >= got.TotalCount {
			break
		}
	}
	return all, nil
}

// deliver hands one message on and confirms it once it is durable.
func (f *feed) deliver(ctx context.Context, m notification, handle handler) error {
	cb, err := f.callback(m)
	if err != nil {
		return err
	}
	if err := handle(ctx, cb); err != nil {
		return err
	}
	var ignored struct{}
	return f.client.call(ctx, "ConfirmNotification",
		map[string]string{"NotificationRequestId": m.NotificationRequestID}, &ignored)
}

// callback makes a message the callback that it should have been, signed with
// our key: the signed API vouches for it, and Receive needs no other way in.
func (f *feed) callback(m notification) (core.Callback, error) {
	var values map[string]string
	if err := json.Unmarshal([]byte(m.Message), &values); err != nil {
		return core.Callback{}, invalid("bad_message", "a parked message is not an object of texts")
	}
	q := make(url.Values, len(values)+3)
	for name, value := range values {
		q.Set(name, value)
	}
	q.Set("action", m.Action)
	q.Set("requestId", m.NotificationRequestID)
	q.Del(tokenParam)
	p, err := read(core.Callback{Method: http.MethodGet, RawQuery: q.Encode()})
	if err != nil {
		return core.Callback{}, err
	}
	token := digest(p.canonical(), f.adapter.keys[0])
	q.Set(tokenParam, string(token[:]))
	return core.Callback{
		Listing: f.adapter.listing, Endpoint: endpointPull, Method: http.MethodGet,
		RawQuery: q.Encode(), Header: http.Header{}, ReceivedAt: f.adapter.now(),
		RequestID: fmt.Sprintf("pull-%.64s", m.NotificationRequestID),
	}, nil
}
