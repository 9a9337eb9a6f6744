package awssim

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"

	"cloudsettle/adapters/internal/sim"
)

// routes lays out the services, the page and the control API.
func (s *Simulator) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", s.service)
	mux.HandleFunc("POST /service/AWSMPEntitlementService/operation/GetEntitlements", s.getEntitlementsCBOR)
	mux.HandleFunc("GET /{$}", s.visit)
	mux.HandleFunc("GET /{certificate}", s.certificate)

	mux.HandleFunc("POST /do/{event}", s.pageDo)
	mux.HandleFunc("POST /setup/{agreement}", s.pageSetup)

	mux.HandleFunc("GET /_sim/state", s.controlState)
	mux.HandleFunc("GET /_sim/attempts", s.controlAttempts)
	mux.HandleFunc("POST /_sim/orders", s.controlBuy)
	mux.HandleFunc("POST /_sim/orders/{agreement}/{event}", s.controlAgreement)
	mux.HandleFunc("POST /_sim/trigger/{event}", s.controlTrigger)
	mux.HandleFunc("POST /_sim/tokens/{agreement}", s.controlToken)
	mux.HandleFunc("POST /_sim/faults", s.controlFaults)
	mux.HandleFunc("GET /_sim/metering", s.controlMetering)
	mux.HandleFunc("POST /_sim/metering/faults", s.controlMeteringFaults)
	mux.HandleFunc("POST /_sim/rotate-key", s.controlRotate)
	return mux
}

// state is what GET /_sim/state answers.
type state struct {
	Agreements []Agreement `json:"agreements"`
	Confirmed  []string    `json:"confirmed_topics"`
	Faults     faults      `json:"faults"`
}

func (s *Simulator) controlState(w http.ResponseWriter, _ *http.Request) {
	s.writeJSON(w, http.StatusOK, state{s.Agreements(), s.Confirmed(), s.faults()})
}

func (s *Simulator) controlAttempts(w http.ResponseWriter, _ *http.Request) {
	s.writeJSON(w, http.StatusOK, s.Attempts())
}

func (s *Simulator) controlBuy(w http.ResponseWriter, r *http.Request) {
	s.controlDo(w, r, "buy", nil)
}

func (s *Simulator) controlAgreement(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("agreement")
	known := func(a Agreement) bool { return a.ID == id }
	if !slices.ContainsFunc(s.Agreements(), known) {
		s.writeJSON(w, http.StatusNotFound, map[string]string{"error": "no agreement " + id})
		return
	}
	s.controlDo(w, r, r.PathValue("event"), Params{"agreement": id})
}

// controlDo lets an event happen; the answer does not wait for its callbacks.
func (s *Simulator) controlDo(w http.ResponseWriter, r *http.Request, event string, fixed Params) {
	p, err := readParams(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	maps.Copy(p, fixed)
	a, err := s.Do(event, p)
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.writeJSON(w, http.StatusCreated, a)
}

func (s *Simulator) controlTrigger(w http.ResponseWriter, r *http.Request) {
	p, err := readParams(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	attempt, err := s.Trigger(r.Context(), r.PathValue("event"), p)
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.writeJSON(w, http.StatusOK, attempt)
}

// controlToken mints a registration token, for scripts that submit the form
// themselves.
func (s *Simulator) controlToken(w http.ResponseWriter, r *http.Request) {
	t, a, ok := s.newToken(r.PathValue("agreement"))
	if !ok {
		s.writeJSON(w, http.StatusNotFound, map[string]string{"error": "no such agreement"})
		return
	}
	s.writeJSON(w, http.StatusCreated, map[string]any{
		"token": t, "register_url": s.hook("register"), "agreement": a,
	})
}

func (s *Simulator) newToken(id string) (string, Agreement, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agreement(id)
	if a == nil {
		return "", Agreement{}, false
	}
	return s.mint(a), *a, true
}

// faults are the faults of deliveries and the switches of the services.
type faults struct {
	sim.Faults
	Switches
}

func (s *Simulator) faults() faults {
	now := faults{Faults: s.sender.Faults()}
	s.Set(func(sw *Switches) { now.Switches = *sw })
	return now
}

// controlFaults changes what the body names; the rest stays.
func (s *Simulator) controlFaults(w http.ResponseWriter, r *http.Request) {
	next := s.faults()
	dec := json.NewDecoder(io.LimitReader(r.Body, maxRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&next); err != nil {
		s.refuse(w, err)
		return
	}
	s.sender.SetFaults(next.Faults)
	s.Set(func(sw *Switches) { *sw = next.Switches })
	s.writeJSON(w, http.StatusOK, next)
}

func (s *Simulator) controlRotate(w http.ResponseWriter, _ *http.Request) {
	if err := s.RotateKey(); err != nil {
		s.writeJSON(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
		return
	}
	s.writeJSON(w, http.StatusOK, map[string]string{
		"rotated": "the next SNS message is signed with a new key",
	})
}

// readParams reads a JSON object of strings; an empty body has none.
func readParams(r *http.Request) (Params, error) {
	p := Params{}
	err := json.NewDecoder(io.LimitReader(r.Body, maxRequest)).Decode(&p)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p, nil
}

func (s *Simulator) refuse(w http.ResponseWriter, err error) {
	s.writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
}

func (s *Simulator) writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	s.write(w, v)
}
