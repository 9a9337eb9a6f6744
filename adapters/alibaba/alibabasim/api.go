package alibabasim

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// The gateway's rules for signed calls.
const (
	apiVersion  = "2015-11-01"
	intlVersion = "2022-12-30" // of the international site, for metering
	clockWindow = 15 * time.Minute
	maxNonces   = 100_000 // then those out of the window are dropped
	maxForm     = 4 << 20
)

// APIFaults says how many of the next calls of the API go wrong, and how.
type APIFaults struct {
	Slow         int `json:"slow"`          // no answer until the caller gives up
	DropAnswer   int `json:"drop_answer"`   // done, and then the connection breaks
	ServerError  int `json:"server_error"`  // 500 UnknownError
	HTML         int `json:"html"`          // 502 of some proxy
	SuccessFalse int `json:"success_false"` // 200 with Success false
	NumericCode  int `json:"numeric_code"`  // an error whose Code is a number
}

// apiError is an error of the API.
type apiError struct {
	status        int
	code, message string
}

func (s *Simulator) serveAPI(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		writeError(w, apiError{http.StatusBadRequest, "InvalidParameter", "the request cannot be read"})
		return
	}
	if e := s.authenticate(r); e != nil {
		writeError(w, *e)
		return
	}
	if s.misbehave(w, r) {
		return
	}
	if r.Form.Get("Action") == pushMeteringData {
		s.servePush(w, r)
		return
	}
	answer, e := s.callAPI(r.Form)
	if e != nil {
		writeError(w, *e)
		return
	}
	answer["RequestId"] = r.Form.Get("SignatureNonce")
	if s.take(func(f *APIFaults) *int { return &f.DropAnswer }) {
		panic(http.ErrAbortHandler)
	}
	writeJSON(w, http.StatusOK, answer)
}

// authenticate checks what the gateway checks before an API sees a call.
func (s *Simulator) authenticate(r *http.Request) *apiError {
	bad := func(code, message string) *apiError { return &apiError{http.StatusBadRequest, code, message} }
	f := r.Form
	for _, name := range []string{"AccessKeyId", "Signature", "SignatureNonce", "Timestamp", "Version", "Action"} {
		if f.Get(name) == "" {
			return bad("Missing"+name, name+" is mandatory for this action.")
		}
	}
	at, err := time.Parse(time.RFC3339, f.Get("Timestamp"))
	want := rpcSignature(r.Method, f, s.listing.AccessKeySecret)
	switch {
	case f.Get("AccessKeyId") != s.listing.AccessKeyID || s.listing.AccessKeySecret == "":
		return &apiError{http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found."}
	case f.Get("SignatureMethod") != "HMAC-SHA1" || f.Get("SignatureVersion") != "1.0":
		return bad("InvalidParameter.SignatureMethod", "It is not supported.")
	case err != nil || s.wall().Sub(at).Abs() > clockWindow:
		return bad("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	case subtle.ConstantTimeCompare([]byte(f.Get("Signature")), []byte(want)) != 1:
		return bad("SignatureDoesNotMatch", "Specified signature does not match our calculation.")
	case !s.fresh(f.Get("SignatureNonce"), at):
		return bad("SignatureNonceUsed", "Specified signature nonce was used already.")
	case f.Get("Version") != apiVersion && (f.Get("Version") != intlVersion || !s.listing.international()):
		return bad("InvalidVersion", "Specified parameter Version is not valid.")
	}
	return nil
}

// fresh takes a nonce and reports whether it was free.
func (s *Simulator) fresh(nonce string, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, used := s.nonces[nonce]; used {
		return false
	}
	if len(s.nonces) >= maxNonces {
		for n, t := range s.nonces {
			if s.wall().Sub(t) > clockWindow {
				delete(s.nonces, n)
			}
		}
	}
	s.nonces[nonce] = at
	return true
}

// misbehave answers wrongly if a fault is due.
func (s *Simulator) misbehave(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case s.take(func(f *APIFaults) *int { return &f.Slow }):
		<-r.Context().Done()
	case s.take(func(f *APIFaults) *int { return &f.ServerError }):
		writeError(w, apiError{http.StatusInternalServerError, "UnknownError", "The request has failed."})
	case s.take(func(f *APIFaults) *int { return &f.HTML }):
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html><body>502 Bad Gateway</body></html>")
	case s.take(func(f *APIFaults) *int { return &f.SuccessFalse }):
		writeJSON(w, http.StatusOK, map[string]any{"Success": false, "Code": "Busy", "RequestId": "sim"})
	case s.take(func(f *APIFaults) *int { return &f.NumericCode }):
		writeJSON(w, http.StatusInternalServerError, map[string]any{"Code": 500, "Message": "busy"})
	default:
		return false
	}
	return true
}

// take uses up one fault.
func (s *Simulator) take(which func(*APIFaults) *int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := which(&s.api)
	if *n <= 0 {
		return false
	}
	*n--
	return true
}

func (s *Simulator) callAPI(f url.Values) (map[string]any, *apiError) {
	if f.Get("Version") != apiVersion {
		return nil, &apiError{http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found."}
	}
	switch f.Get("Action") {
	case "DescribeFailedNotifications":
		return s.describeFailedNotifications(f)
	case "ConfirmNotification":
		return s.confirmNotification(f)
	case "DescribeInstanceForIsv":
		return s.describeInstance(f)
	}
	return nil, &apiError{http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found."}
}

func (s *Simulator) describeFailedNotifications(f url.Values) (map[string]any, *apiError) {
	page, err1 := strconv.Atoi(f.Get("PageNumber"))
	size, err2 := strconv.Atoi(f.Get("PageSize"))
	if err1 != nil || err2 != nil || page < 1 || size < 1 {
		return nil, &apiError{http.StatusBadRequest, "InvalidParameter", "PageNumber or PageSize is not valid."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	total := len(s.parked)
	from, to := min((page-1)*size, total), min(page*size, total)
	list := []map[string]any{}
	for _, p := range s.parked[from:to] {
		text, err := json.Marshal(withoutRequest(p.message.values))
		if err != nil {
			return nil, &apiError{http.StatusInternalServerError, "UnknownError", "The request has failed."}
		}
		list = append(list, map[string]any{
			"NotificationRequestId": p.requestID, "Action": p.message.action,
			"CreateTime": p.at.UnixMilli(), "Message": string(text),
		})
	}
	return map[string]any{
		"PageNumber": page, "PageSize": size, "TotalCount": total, "NotificationList": list,
	}, nil
}

// withoutRequest leaves out what the documented sample of a message lacks.
func withoutRequest(values map[string]string) map[string]string {
	out := make(map[string]string, len(values))
	for k, v := range values {
		if k != "requestId" && k != "token" {
			out[k] = v
		}
	}
	return out
}

func (s *Simulator) confirmNotification(f url.Values) (map[string]any, *apiError) {
	id := f.Get("NotificationRequestId")
	if id == "" {
		return nil, &apiError{http.StatusBadRequest, "MissingNotificationRequestId", "It is mandatory."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parked = slices.DeleteFunc(s.parked, func(p parked) bool { return p.requestID == id })
	return map[string]any{"Success": true}, nil
}

func (s *Simulator) describeInstance(f url.Values) (map[string]any, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.instances[f.Get("InstanceId")]
	if i == nil {
		return nil, &apiError{http.StatusBadRequest, "Invalid.Parameter.Instance", "The instance does not exist."}
	}
	answer := map[string]any{
		"InstanceId": i.ID, "OrderId": i.OrderID, "ProductCode": i.ProductCode,
		"ProductSkuCode": i.SKU, "ProductType": "APP", "Status": i.Status, "IsTrial": i.Trial,
		"CreatedOn": i.CreatedAt.UnixMilli(), "BeganOn": i.CreatedAt.UnixMilli(),
		"AppJson": fmt.Sprintf(`{"frontEndUrl":%q,"authUrl":%q}`, i.FrontEndURL, i.AuthURL),
	}
	if !i.ExpiresOn.IsZero() {
		answer["EndOn"] = i.ExpiresOn.UnixMilli()
	}
	return answer, nil
}

func writeError(w http.ResponseWriter, e apiError) {
	writeJSON(w, e.status, map[string]any{
		"RequestId": "sim", "HostId": "market.aliyuncs.com", "Code": e.code, "Message": e.message,
		"Recommend": "",
	})
}

// writeJSON answers with v, which always encodes. An error means that the
// caller is gone.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
