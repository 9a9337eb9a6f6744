package aws

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// How the queue is read. AWS recommends a queue over HTTP: its retries last
// days instead of an hour.
const (
	pollFor     = 20               // seconds, the longest poll there is
	pollBatch   = 10               // messages, the most there are
	pollBackoff = 30 * time.Second // at most, after failures
	deleteFor   = 10 * time.Second // to confirm a message, even while stopping
)

const sentTimestamp = types.MessageSystemAttributeNameSentTimestamp

// handler takes one callback durably, or fails.
type handler = func(context.Context, core.Callback) error

// feed reads the events of a listing from an SQS queue.
type feed struct {
	listing marketplace.ListingID
	queue   string
	sqs     *sqs.Client
	now     func() time.Time
	log     *slog.Logger
}

// Run reads messages until ctx is done. A message is deleted after handle took
// it; one that handle refuses comes back when its visibility timeout is over,
// until the queue's redrive policy moves it away.
func (f *feed) Run(ctx context.Context, handle handler) error {
	for failures := 0; ctx.Err() == nil; {
		out, err := f.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &f.queue, MaxNumberOfMessages: pollBatch, WaitTimeSeconds: pollFor,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{sentTimestamp},
		})
		if err != nil {
			if ctx.Err() == nil {
				f.log.Warn("aws: the queue cannot be read", "listing", f.listing, "error", err)
			}
			failures++
			pause(ctx, failures)
			continue
		}
		failures = 0
		for i := range out.Messages {
			f.take(ctx, &out.Messages[i], handle)
		}
	}
	return ctx.Err()
}

func (f *feed) take(ctx context.Context, m *types.Message, handle handler) {
	if ctx.Err() != nil {
		return
	}
	id := sdk.ToString(m.MessageId)
	if err := handle(ctx, f.callback(m)); err != nil {
		f.log.Warn("aws: a message stays in the queue", "listing", f.listing, "message_id", id, "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteFor)
	defer cancel()
	done := sqs.DeleteMessageInput{QueueUrl: &f.queue, ReceiptHandle: m.ReceiptHandle}
	if _, err := f.sqs.DeleteMessage(ctx, &done); err != nil {
		f.log.Warn("aws: a message will come again", "listing", f.listing, "message_id", id, "error", err)
	}
}

// callback marks m as coming from the queue by an endpoint that no HTTP path
// leads to.
func (f *feed) callback(m *types.Message) core.Callback {
	id := sdk.ToString(m.MessageId)
	header := http.Header{headerID: {id}}
	sent := m.Attributes[string(sentTimestamp)]
	if ms, err := strconv.ParseInt(sent, 10, 64); err == nil {
		header.Set(headerSentAt, time.UnixMilli(ms).UTC().Format(time.RFC3339Nano))
	}
	return core.Callback{
		Listing: f.listing, Endpoint: endpointQueue, Method: http.MethodPost, Header: header,
		Body: []byte(sdk.ToString(m.Body)), ReceivedAt: f.now(), RequestID: id,
	}
}

// pause waits longer after each failure, up to pollBackoff, with jitter.
func pause(ctx context.Context, failures int) {
	most := min(pollBackoff, time.Second<<min(failures, 5))
	t := time.NewTimer(most/2 + rand.N(most/2)) // #nosec -- jitter, not a secret
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
