package awssim

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Switches are what can be made to go wrong, and what differs among listings.
type Switches struct {
	// TokenSeconds is how long a registration token holds: the guide says both
	// 4 hours and about one.
	TokenSeconds int `json:"token_seconds"`
	// OneShotTokens makes a token expire once it was resolved.
	OneShotTokens bool `json:"one_shot_tokens"`
	// Legacy makes new agreements ones of a listing before Concurrent Agreements.
	Legacy bool `json:"legacy"`
	// HideLicense makes ResolveCustomer of legacy agreements answer without one.
	HideLicense bool `json:"hide_license"`
	// Throttle and Fail let the next so many calls fail with 400 and 500.
	Throttle int `json:"throttle"`
	Fail     int `json:"fail"`
	// EmptyPages puts an empty page before each page of entitlements.
	EmptyPages bool `json:"empty_pages"`
	// SNSVersion fixes the signature version; "" alternates.
	SNSVersion string `json:"sns_version"`
}

func defaultSwitches() Switches { return Switches{TokenSeconds: 4 * 60 * 60} }

// token is a registration token.
type token struct {
	agreement string
	mintedAt  time.Time
	used      bool
}

// mint returns a fresh token with every character that forms must encode.
func (s *Simulator) mint(a *Agreement) string {
	b := make([]byte, 48)
	_, _ = rand.Read(b)
	t := "sim+/" + base64.StdEncoding.EncodeToString(b) + "="
	s.tokens[t] = token{agreement: a.ID, mintedAt: s.cfg.Now()}
	return t
}

// maxRequest bounds the body of a call to a service.
const maxRequest = 1 << 20

// apiError is an error of an AWS service; status 0 is an answer that gets lost.
type apiError struct {
	status  int
	kind    string
	message string
}

func invalidParameter(message string) *apiError {
	return &apiError{http.StatusBadRequest, "InvalidParameterException", message}
}

// service serves AWS JSON: the operation is in a header.
func (s *Simulator) service(w http.ResponseWriter, r *http.Request) {
	body, fault := s.authentic(r)
	var out any
	if fault == nil {
		switch target := r.Header.Get("X-Amz-Target"); target {
		case "AWSMPMeteringService.ResolveCustomer":
			out, fault = call(body, s.resolveCustomer)
		case "AWSMPMeteringService.BatchMeterUsage":
			out, fault = call(body, func(in meterRequest) (any, *apiError) { return s.batchMeterUsage(r, in) })
		case "AWSMPEntitlementService.GetEntitlements":
			out, fault = call(body, s.getEntitlements)
		case "AmazonSQS.ReceiveMessage":
			out, fault = call(body, func(in receiveRequest) (any, *apiError) {
				return map[string]any{"Messages": s.queue.receive(r.Context(), max(1, in.Most), in.wait())}, nil
			})
		case "AmazonSQS.DeleteMessage":
			out, fault = call(body, func(in struct{ ReceiptHandle string }) (any, *apiError) {
				s.queue.remove(in.ReceiptHandle)
				return struct{}{}, nil
			})
		default:
			fault = &apiError{http.StatusBadRequest, "UnknownOperationException", "no operation " + target}
		}
	}
	if fault != nil && fault.status == 0 {
		panic(http.ErrAbortHandler) // net/http's way to break a connection
	}
	w.Header().Set("Content-Type", strings.Split(r.Header.Get("Content-Type")+";", ";")[0])
	if fault != nil {
		w.WriteHeader(fault.status)
		out = map[string]string{"__type": "com.amazonaws.marketplace#" + fault.kind, "message": fault.message}
	}
	s.write(w, out)
}

type receiveRequest struct {
	Most int `json:"MaxNumberOfMessages"`
	Wait int `json:"WaitTimeSeconds"`
}

func (r receiveRequest) wait() time.Duration { return time.Duration(r.Wait) * time.Second }

// write sends v as JSON; a reader that went away is no matter.
func (s *Simulator) write(w io.Writer, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.cfg.Log.Debug("awssim: an answer was not read", "error", err)
	}
}

func call[In any](body []byte, f func(In) (any, *apiError)) (any, *apiError) {
	var in In
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, &apiError{http.StatusBadRequest, "SerializationException", err.Error()}
	}
	return f(in)
}

// authentic reads a signed request, unless it is one that is to fail.
func (s *Simulator) authentic(r *http.Request) ([]byte, *apiError) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return nil, &apiError{http.StatusBadRequest, "SerializationException", err.Error()}
	}
	if err := checkSignature(r, body, s.listing.AccessKeyID, s.listing.SecretAccessKey); err != nil {
		return nil, &apiError{http.StatusForbidden, "AccessDeniedException", err.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.switches.Throttle > 0:
		s.switches.Throttle--
		return nil, &apiError{http.StatusBadRequest, "ThrottlingException", "slow down"}
	case s.switches.Fail > 0:
		s.switches.Fail--
		return nil, &apiError{http.StatusInternalServerError, "InternalServiceErrorException", "try again"}
	}
	return body, nil
}

// resolveCustomer answers as for new listings, or as for legacy ones, which
// know the customer and may not know the license.
func (s *Simulator) resolveCustomer(in struct{ RegistrationToken string }) (any, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.tokens[in.RegistrationToken]
	a := s.agreement(t.agreement)
	life := time.Duration(s.switches.TokenSeconds) * time.Second
	switch {
	case !known || a == nil:
		return nil, &apiError{http.StatusBadRequest, "InvalidTokenException", "the token is invalid"}
	case s.cfg.Now().Sub(t.mintedAt) > life, t.used && s.switches.OneShotTokens:
		return nil, &apiError{http.StatusBadRequest, "ExpiredTokenException", "the token is expired"}
	}
	t.used = true
	s.tokens[in.RegistrationToken] = t
	out := map[string]string{"CustomerAWSAccountId": a.Account, "ProductCode": s.listing.ProductCode}
	if a.Legacy {
		out["CustomerIdentifier"] = a.Customer
	}
	if !a.Legacy || !s.switches.HideLicense {
		out["LicenseArn"] = a.licenseARN()
	}
	return out, nil
}

func (s *Simulator) agreement(id string) *Agreement {
	for _, a := range s.agreements {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// entitlementsRequest is the input of GetEntitlements.
type entitlementsRequest struct {
	ProductCode string
	Filter      map[string][]string
	MaxResults  *int64
	NextToken   string
}

// granted is one entitlement.
type granted struct {
	CustomerAWSAccountID string `json:"CustomerAWSAccountId"`
	CustomerIdentifier   string `json:"CustomerIdentifier,omitempty"`
	Dimension            string
	ExpirationDate       int64
	LicenseArn           string
	ProductCode          string
	Value                struct{ IntegerValue int32 }
}

type entitlementsResponse struct {
	Entitlements []granted
	NextToken    string `json:"NextToken,omitempty"`
}

// getEntitlements answers for agreements that are not over.
func (s *Simulator) getEntitlements(in entitlementsRequest) (any, *apiError) {
	out, fault := s.entitlements(in)
	if fault != nil {
		return nil, fault
	}
	return out, nil
}

func (s *Simulator) entitlements(in entitlementsRequest) (entitlementsResponse, *apiError) {
	if fault := s.checkFilter(in); fault != nil {
		return entitlementsResponse{}, fault
	}
	size := 25
	if in.MaxResults != nil {
		size = int(*in.MaxResults)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []granted
	for _, a := range s.agreements {
		if g := s.grant(a); a.entitled() && matches(g, in.Filter) {
			found = append(found, g)
		}
	}
	return s.paged(found, in.NextToken, size), nil
}

func (s *Simulator) checkFilter(in entitlementsRequest) *apiError {
	if in.ProductCode != s.listing.ProductCode {
		return invalidParameter("unknown product code")
	}
	if in.MaxResults != nil && (*in.MaxResults < 1 || *in.MaxResults > 25) {
		return invalidParameter("MaxResults is from 1 to 25")
	}
	_, byCustomer := in.Filter["CUSTOMER_IDENTIFIER"]
	_, byAccount := in.Filter["CUSTOMER_AWS_ACCOUNT_ID"]
	if byCustomer && byAccount {
		return invalidParameter("CUSTOMER_IDENTIFIER and CUSTOMER_AWS_ACCOUNT_ID exclude each other")
	}
	for key, values := range in.Filter {
		switch key {
		case "CUSTOMER_IDENTIFIER", "CUSTOMER_AWS_ACCOUNT_ID", "DIMENSION", "LICENSE_ARN":
		default:
			return invalidParameter("unknown filter " + key)
		}
		if len(values) == 0 || slices.Contains(values, "") {
			return invalidParameter("empty filter " + key)
		}
	}
	return nil
}

func (a *Agreement) entitled() bool {
	return a.Quantity > 0 && (a.Status == Active || a.Status == Ending)
}

func (s *Simulator) grant(a *Agreement) granted {
	g := granted{
		CustomerAWSAccountID: a.Account, Dimension: a.Dimension, ExpirationDate: a.EndsAt.Unix(),
		LicenseArn: a.licenseARN(), ProductCode: s.listing.ProductCode,
	}
	if a.Legacy {
		g.CustomerIdentifier = a.Customer
	}
	g.Value.IntegerValue = a.Quantity
	return g
}

// matches: the values of a key are alternatives, the keys all hold.
func matches(g granted, filter map[string][]string) bool {
	for key, values := range filter {
		is := map[string]string{
			"CUSTOMER_IDENTIFIER": g.CustomerIdentifier, "CUSTOMER_AWS_ACCOUNT_ID": g.CustomerAWSAccountID,
			"DIMENSION": g.Dimension, "LICENSE_ARN": g.LicenseArn,
		}[key]
		if !slices.Contains(values, is) {
			return false
		}
	}
	return true
}

// paged cuts a page out. A token is an offset; "e" in front is of an empty page.
func (s *Simulator) paged(found []granted, token string, size int) entitlementsResponse {
	out := entitlementsResponse{Entitlements: []granted{}}
	rest, afterEmpty := strings.CutPrefix(token, "e")
	from, err := strconv.Atoi(rest)
	if err != nil || from > len(found) {
		from = 0
	}
	if s.switches.EmptyPages && !afterEmpty {
		out.NextToken = "e" + strconv.Itoa(from)
		return out
	}
	to := min(from+size, len(found))
	out.Entitlements = found[from:to]
	if to < len(found) {
		out.NextToken = strconv.Itoa(to)
	}
	return out
}

// visit serves what GET / means: confirming a topic, or the page.
func (s *Simulator) visit(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("Action") == "ConfirmSubscription" {
		s.confirmTopic(w, r)
		return
	}
	s.page(w, r)
}

func (s *Simulator) confirmTopic(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	topic, known := s.confirm[r.URL.Query().Get("Token")]
	if !known || topic != r.URL.Query().Get("TopicArn") {
		const refusal = "<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>"
		http.Error(w, refusal, http.StatusBadRequest)
		return
	}
	if !slices.Contains(s.confirmed, topic) {
		s.confirmed = append(s.confirmed, topic)
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, "<ConfirmSubscriptionResponse><ConfirmSubscriptionResult><SubscriptionArn>"+
		topic+":1</SubscriptionArn></ConfirmSubscriptionResult></ConfirmSubscriptionResponse>\n")
}

// certificate serves the certificates of all keys there were.
func (s *Simulator) certificate(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.signers {
		if c.path == r.URL.Path {
			w.Header().Set("Content-Type", "application/x-pem-file")
			_, _ = w.Write(c.pem)
			return
		}
	}
	http.NotFound(w, r)
}
