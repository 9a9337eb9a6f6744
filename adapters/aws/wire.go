package aws

import (
	"encoding/json"
	"fmt"
)

// envelope is an SNS message as POSTed to HTTP subscribers and as found in SQS
// bodies without raw delivery (SNS Developer Guide, "Parsing message formats").
// Functions on Lambda see SigningCertUrl and "Subject": null; both decode here,
// since encoding/json does not mind the case of keys.
type envelope struct {
	Type             string
	MessageID        string `json:"MessageId"`
	Token            string
	TopicARN         string `json:"TopicArn"`
	Subject          *string
	Message          string
	SubscribeURL     string
	Timestamp        string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
}

// message is what an envelope, a raw delivery or an API destination carries: a
// legacy notification or an EventBridge event.
type message struct {
	Action             string `json:"action"`
	CustomerIdentifier string `json:"customer-identifier"`
	ProductCode        string `json:"product-code"`
	OfferIdentifier    string `json:"offer-identifier"`
	FreeTrial          loose  `json:"isFreeTrialTermPresent"`

	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Time       string          `json:"time"`
	Detail     json.RawMessage `json:"detail"`
}

// detail is the detail of an agreement or license event.
type detail struct {
	Agreement struct {
		ID                  string `json:"id"`
		Intent              string `json:"intent"`
		Status              string `json:"status"`
		StartTime           string `json:"startTime"`
		EndTime             string `json:"endTime"`
		PreviousAgreementID string `json:"previousAgreementId"`
	} `json:"agreement"`
	Product struct {
		Code string `json:"code"`
		ID   string `json:"id"`
	} `json:"product"`
	License struct {
		ARN string `json:"arn"`
	} `json:"license"`
	Acceptor struct {
		AccountID string `json:"accountId"`
	} `json:"acceptor"`
	Offer struct {
		ID string `json:"id"`
	} `json:"offer"`
}

// loose is a word that is documented as a string and may come as a boolean.
type loose string

// UnmarshalJSON accepts a string, a boolean or null.
func (l *loose) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "null":
		*l = ""
		return nil
	case "true", "false":
		*l = loose(b)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("neither a string nor a boolean: %w", err)
	}
	*l = loose(s)
	return nil
}
