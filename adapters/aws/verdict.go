package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	api "github.com/aws/aws-sdk-go-v2/service/marketplacemetering"
	"github.com/aws/aws-sdk-go-v2/service/marketplacemetering/types"
	"github.com/aws/smithy-go"

	"cloudsettle/core/metering"
)

// How long to leave AWS alone. Core's own waits grow from half a minute.
const (
	retryThrottled = 5 * time.Second  // quotas are by the second
	retryInactive  = 10 * time.Minute // "at low frequency": License Updated may still be on its way
	retryConfig    = 5 * time.Minute  // a person has to mend it
)

// meaning is what a word of AWS's means for a record.
type meaning struct {
	verdict metering.Verdict
	wait    time.Duration
	// split: one record is to blame for what befell its whole call; the others
	// are found by halving it. Nothing of such a call was processed.
	split bool
}

// meansOfStatus is what a result says of one record (API Reference
// "UsageRecordResult"). A status that is new to us may mean anything; sending
// the same again is safe.
func meansOfStatus(s types.UsageRecordResultStatus) meaning {
	switch s {
	case types.UsageRecordResultStatusSuccess:
		return meaning{verdict: metering.OK}
	case types.UsageRecordResultStatusDuplicateRecord:
		// By the reference another quantity is on file; by one sentence of AWS's
		// own guide for agents it may also be the same one.
		return meaning{verdict: metering.Duplicate}
	case types.UsageRecordResultStatusCustomerNotSubscribed:
		return meaning{verdict: metering.NotActive, wait: retryInactive}
	default:
		return meaning{verdict: metering.MaybeTaken}
	}
}

// meansOfError is what an error says of a whole call (API Reference
// "BatchMeterUsage", and the errors common to all services).
func meansOfError(code string) meaning {
	switch code {
	case "ThrottlingException", "Throttling", "ThrottledException", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded":
		return meaning{verdict: metering.Throttled, wait: retryThrottled}
	case "InternalServiceErrorException", "InternalFailure", "InternalServerError",
		"ServiceUnavailable", "ServiceUnavailableException":
		return meaning{verdict: metering.MaybeTaken}
	case "TimestampOutOfBoundsException":
		return meaning{verdict: metering.OutOfTime, split: true}
	case "InvalidUsageDimensionException", "InvalidLicenseException",
		"InvalidCustomerIdentifierException", "InvalidTagException",
		"InvalidUsageAllocationsException", "ValidationException", "SerializationException":
		return meaning{verdict: metering.Refused, split: true}
	case "InvalidProductCodeException", "DisabledApiException", "InvalidEndpointRegionException",
		"AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "OptInRequired",
		"ExpiredTokenException", // of the credentials: no registration token is in the call
		"ExpiredToken", "InvalidClientTokenId", "InvalidSignatureException",
		"SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken",
		"NotAuthorized", "RequestExpired", "UnknownOperationException":
		return meaning{verdict: metering.NotTaken, wait: retryConfig}
	default:
		return meaning{verdict: metering.MaybeTaken, split: true}
	}
}

// refusal is what became of a call that has no results.
type refusal struct {
	meaning
	detail string
}

// refusalOf explains an error of the SDK. Only its code, its status and the
// request's id are kept: texts of AWS and of the SDK hold keys, names and URLs.
func refusalOf(err error, sent bool) refusal {
	var fault smithy.APIError
	var answer *awshttp.ResponseError
	answered := errors.As(err, &answer) && answer.HTTPStatusCode() != 0 // 0: there was no answer
	switch {
	case answered && answer.HTTPStatusCode() == http.StatusTooManyRequests:
		return refusal{meansOfError("ThrottlingException"), citation(answer, err)}
	case answered && answer.HTTPStatusCode() >= http.StatusInternalServerError:
		const trouble = "AWS is in trouble: "
		return refusal{meaning{verdict: metering.MaybeTaken}, trouble + citation(answer, err)}
	case answered && errors.As(err, &fault):
		m := meansOfError(fault.ErrorCode())
		return refusal{m, fmt.Sprintf("%.64q: %s", fault.ErrorCode(), citation(answer, err))}
	case answered:
		const odd = "the answer is not as documented: "
		return refusal{meaning{verdict: metering.MaybeTaken}, odd + citation(answer, err)}
	case !sent:
		return refusal{meaning{verdict: metering.NotTaken}, "AWS was not reached" + reason(err)}
	default:
		return refusal{meaning{verdict: metering.MaybeTaken}, "the answer was lost" + reason(err)}
	}
}

func citation(answer *awshttp.ResponseError, err error) string {
	var id interface{ ServiceRequestID() string }
	request := ""
	if errors.As(err, &id) {
		request = id.ServiceRequestID()
	}
	return fmt.Sprintf("status %d, request %.64q", answer.HTTPStatusCode(), request)
}

// reason tells what of an error of the network is safe to tell.
func reason(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return ": it took too long"
	case errors.Is(err, context.Canceled):
		return ": the call was given up"
	default:
		return ""
	}
}

// verdicts gives every record of a call the verdict of the whole call.
func (r refusal) verdicts(part []usage) []metering.Result {
	out := make([]metering.Result, len(part))
	for i, u := range part {
		out[i] = metering.Result{
			Record: u.record, Verdict: r.verdict, Detail: r.detail, RetryAfter: r.wait,
		}
	}
	return out
}

// match finds what an answer says of each record, by key. What it is silent
// about may be on file.
func match(part []usage, out *api.BatchMeterUsageOutput) []metering.Result {
	results := refusal{
		meaning{verdict: metering.MaybeTaken}, "the answer does not mention it",
	}.verdicts(part)
	at := make(map[usageKey]int, len(part))
	for i, u := range part {
		at[u.key] = i
	}
	for i := range out.UnprocessedRecords {
		if n, ours := at[keyOf(&out.UnprocessedRecords[i])]; ours {
			results[n].Verdict, results[n].Detail = metering.NotTaken, "AWS did not process it"
		}
	}
	for i := range out.Results {
		r := &out.Results[i]
		if r.UsageRecord == nil {
			continue
		}
		if n, ours := at[keyOf(r.UsageRecord)]; ours {
			results[n] = judge(&part[n], r)
		}
	}
	return results
}

// judge turns AWS's result on one record into a verdict. AWS repeats the record
// in its result; if the quantity there is not ours, it speaks of another one.
func judge(u *usage, r *types.UsageRecordResult) metering.Result {
	m := meansOfStatus(r.Status)
	v := metering.Result{
		Record: u.record, Verdict: m.verdict, RetryAfter: m.wait,
		ProviderID: clip(sdk.ToString(r.MeteringRecordId)),
	}
	onFile := m.verdict == metering.OK || m.verdict == metering.Duplicate
	switch {
	case onFile && sdk.ToInt32(r.UsageRecord.Quantity) != sdk.ToInt32(u.wire.Quantity):
		v.Verdict = metering.Different
		v.Detail = fmt.Sprintf("AWS answers with %d units", sdk.ToInt32(r.UsageRecord.Quantity))
	case m.verdict != metering.OK:
		v.Detail = fmt.Sprintf("status %.64q", string(r.Status))
	}
	return v
}
