package alibabasim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// MeteringFaults says how many of the next calls of PushMeteringData go wrong,
// and how. They are used up in this order; an outage comes before all.
type MeteringFaults struct {
	// Nothing is taken.
	Throttle    int `json:"throttle"`     // 500 Service.Flow.Control
	ServerError int `json:"server_error"` // 500 UnknownError
	HTML        int `json:"html"`         // 502 of some proxy
	NumericCode int `json:"numeric_code"` // 500, with a Code that is a number
	Denied      int `json:"denied"`       // 500 Permission.Denied
	// All is taken, and the answer does not say so.
	LoseAnswer     int `json:"lose_answer"`     // the connection breaks
	GatewayTimeout int `json:"gateway_timeout"` // 504 of some proxy
	SuccessFalse   int `json:"success_false"`   // 200, Success false and a code nobody knows
	Slow           int `json:"slow"`            // no answer until the caller gives up
	// Half of the records are taken, then 500 UnknownError.
	Partial int `json:"partial"`
	// Outage is for how long every call is answered 503, by the simulator's
	// clock from now on, as a Go duration.
	Outage string `json:"outage"`
}

// fault is what goes wrong with one call.
type fault int

const (
	noFault fault = iota
	throttle
	serverError
	html
	numericCode
	denied
	loseAnswer
	gatewayTimeout
	successFalse
	slow
	partial
	outage
)

// untaken reports whether nothing of the call is done.
func (f fault) untaken() bool { return f == outage || f >= throttle && f <= denied }

// part returns what is done of a request.
func (f fault) part(all []usage) []usage {
	if f == partial {
		return all[:(len(all)+1)/2]
	}
	return all
}

// answer answers wrongly, if f is a fault.
func (f fault) answer(w http.ResponseWriter, r *http.Request) bool {
	switch f {
	case noFault:
		return false
	case throttle:
		writeError(w, *tooOften())
	case serverError, partial:
		writeError(w, apiError{http.StatusInternalServerError, "UnknownError", "The request has failed."})
	case denied:
		writeError(w, apiError{http.StatusInternalServerError, "Permission.Denied", "The caller is not on the list."})
	case numericCode:
		writeJSON(w, http.StatusInternalServerError, map[string]any{"Code": 500, "Message": "busy"})
	case successFalse:
		writeJSON(w, http.StatusOK, map[string]any{"Success": false, "Code": "Busy", "RequestId": "sim"})
	case html:
		writeHTML(w, http.StatusBadGateway)
	case gatewayTimeout:
		writeHTML(w, http.StatusGatewayTimeout)
	case outage:
		writeHTML(w, http.StatusServiceUnavailable)
	case loseAnswer:
		panic(http.ErrAbortHandler)
	case slow:
		<-r.Context().Done()
	}
	return true
}

func writeHTML(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<html><body>"+http.StatusText(status)+"</body></html>")
}

// nextFault uses up one fault.
func (m *meteringState) nextFault(now time.Time) fault {
	if now.Before(m.outageEnds) {
		return outage
	}
	f := &m.faults
	for n, left := range []*int{
		&f.Throttle, &f.ServerError, &f.HTML, &f.NumericCode, &f.Denied,
		&f.LoseAnswer, &f.GatewayTimeout, &f.SuccessFalse, &f.Slow, &f.Partial,
	} {
		if *left > 0 {
			*left--
			return throttle + fault(n)
		}
	}
	return noFault
}

// SetMeteringFaults makes the next calls of PushMeteringData go wrong. What is
// not named is switched off.
func (s *Simulator) SetMeteringFaults(f MeteringFaults) error {
	var d time.Duration
	if f.Outage != "" {
		var err error
		if d, err = time.ParseDuration(f.Outage); err != nil {
			return fmt.Errorf("alibabasim: outage: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metering.faults, s.metering.outageEnds = f, s.cfg.Now().Add(d)
	return nil
}

func (s *Simulator) postMeteringFaults(w http.ResponseWriter, r *http.Request) {
	var f MeteringFaults
	if !readControl(w, r, &f) {
		return
	}
	if err := s.SetMeteringFaults(f); err != nil {
		refuse(w, http.StatusBadRequest, errors.Unwrap(err))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"faults": f})
}

// getMetering tells what is billed, what was taken and is not, and the faults
// that are still to come.
func (s *Simulator) getMetering(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	metered := make([]total, len(s.metering.order))
	for n, t := range s.metering.order {
		metered[n] = *t
	}
	answer := map[string]any{
		"metered": metered, "problems": s.metering.problems, "calls": s.metering.calls,
		"faults": s.metering.faults, "outage_ends": s.metering.outageEnds,
	}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, answer)
}
