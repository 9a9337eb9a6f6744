package huaweisim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cloudsettle/adapters/internal/sim"
)

// Limits of the control API and the page.
const (
	maxForm      = 64 << 10        // bytes that are read
	pagePatience = 2 * time.Second // that a person waits for callbacks
)

// routes serves Huawei's own API, the page, and the control API under /_sim/:
//
//	GET  /_sim/state                        orders, instances, violations, calls given up
//	GET  /_sim/attempts                     what was delivered
//	POST /_sim/orders                       buys: the parameters of newInstance, and lines
//	POST /_sim/instances/{id}/{action}      see actions
//	POST /_sim/faults                       {"order_query":"slow|500|404|nobuyer|",
//	                                        "cadence":"burst|hourly", "repeat":"0.3",
//	                                        "delay":"0.3","drop_reply":"0.2"}
//	POST /_sim/rotate-key                   {"key":"…"}
//	POST /_sim/restart                      sends what was given up again
//	GET  /_sim/metering                     usage that was pushed, and what became of it
//	POST /_sim/metering/faults              a MeteringFaults: {"throttle":3,"lost":0.1,
//	                                        "outage":"40m","validation":"listed"}
//
// Other parameters are a JSON object of strings, or a form, which is answered with a
// redirect to the page.
func (s *Sim) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/mkp-openapi-public/global/v1/order/query", s.queryOrder)
	mux.HandleFunc("POST /api/mkp-openapi-public/global/v1/isv/usage-data", s.pushUsage)
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /_sim/state", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.State())
	})
	mux.HandleFunc("GET /_sim/attempts", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.Attempts())
	})
	mux.HandleFunc("GET /_sim/metering", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.Metering())
	})
	mux.HandleFunc("POST /_sim/metering/faults", s.setMeteringFaults)
	post := func(path string, do func(*http.Request, map[string]string) error) {
		mux.HandleFunc("POST "+path, s.control(do))
	}
	post("/_sim/orders", func(_ *http.Request, p map[string]string) error {
		s.Buy(p)
		return nil
	})
	post("/_sim/instances/{id}/{action}", func(r *http.Request, p map[string]string) error {
		return s.Act(r.PathValue("id"), r.PathValue("action"), p)
	})
	post("/_sim/faults", func(_ *http.Request, p map[string]string) error { return s.Misbehave(p) })
	post("/_sim/rotate-key", func(_ *http.Request, p map[string]string) error {
		return s.RotateKey(p["key"])
	})
	post("/_sim/restart", func(*http.Request, map[string]string) error {
		s.Restart()
		return nil
	})
	return mux
}

// control reads parameters, runs do and answers in the caller's way.
func (s *Sim) control(do func(*http.Request, map[string]string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, form, err := parameters(w, r)
		if err == nil {
			err = do(r, p)
		}
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case form:
			s.settle(r.Context())
			http.Redirect(w, r, "/", http.StatusSeeOther)
		default:
			writeJSON(w, http.StatusOK, s.State())
		}
	}
}

// settle waits a moment for the callbacks, so that the page shows their effect.
func (s *Sim) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pagePatience)
	defer cancel()
	_ = s.Wait(ctx) // what takes longer shows on the next visit
}

func parameters(w http.ResponseWriter, r *http.Request) (p map[string]string, form bool, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	p = map[string]string{}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" {
		if r.ContentLength == 0 {
			return p, false, nil
		}
		return p, false, json.NewDecoder(r.Body).Decode(&p)
	}
	if err := r.ParseForm(); err != nil {
		return nil, true, err
	}
	for k := range r.PostForm {
		if v := r.PostForm.Get(k); v != "" {
			p[k] = v
		}
	}
	return p, true, nil
}

// State is what the simulator holds to be true.
type State struct {
	Orders     []Order    `json:"orders"`
	Instances  []Instance `json:"instances"`
	Violations []string   `json:"violations"`
	Stopped    []string   `json:"stopped"` // activities of calls that were given up
	OrderQuery string     `json:"order_query"`
	Cadence    string     `json:"cadence"`
	Faults     sim.Faults `json:"faults"`
}

// State returns a copy of what the simulator holds to be true.
func (s *Sim) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{
		Orders: []Order{}, Instances: []Instance{}, Stopped: []string{},
		Violations: append([]string{}, s.violations...), OrderQuery: s.orderQuery, Cadence: s.cadence,
		Faults: s.sender.Faults(),
	}
	for _, o := range s.orders {
		c := *o
		c.Lines = make([]*Line, len(o.Lines))
		for n, l := range o.Lines {
			line := *l
			c.Lines[n] = &line
		}
		st.Orders = append(st.Orders, c)
	}
	for _, i := range s.instances {
		c := *i
		c.queue, c.terms = nil, nil
		st.Instances = append(st.Instances, c)
	}
	for _, c := range s.stopped {
		st.Stopped = append(st.Stopped, c.activity)
	}
	return st
}

// Buy places an order and delivers it; parameters are those of newInstance,
// and lines, the number of metered products in the order.
func (s *Sim) Buy(p map[string]string) Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.buy(p)
	for _, c := range calls {
		s.send(c)
	}
	return *calls[0].order
}

// actions are what a person does to an instance, for the page.
func actions() []string {
	return []string{
		"renew", "cancel-renewal", "convert", "upgrade", "freeze", "thaw", "expire", "check", "query",
		"release",
	}
}

// Act does to an instance what buyer or marketplace do, and delivers what
// follows from it.
func (s *Sim) Act(instanceID, action string, p map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(instanceID)
	switch {
	case i == nil:
		return fmt.Errorf("huaweisim: no instance %q", instanceID)
	case i.Ended && action != "release" && action != "query":
		return fmt.Errorf("huaweisim: instance %q has ended", instanceID)
	case i.Version == 1 && action == "check":
		return errors.New("huaweisim: version 1 has no check before a change")
	case i.Version == 1 && action == "expire" && i.retermed && i.ExpiresAt.After(s.cfg.Now()):
		return fmt.Errorf("huaweisim: what was renewed does not expire before its term, %s", i.ExpiresAt)
	}
	switch action {
	case "freeze", "thaw":
		s.enqueue(i, s.setStatus(i, action == "freeze", p))
	case "expire":
		s.enqueue(i, s.expire(i, p))
	case "renew":
		return s.renew(i, p)
	default:
		c, err := s.simple(i, action, p)
		if err != nil {
			return err
		}
		s.send(c)
	}
	return nil
}

// simple prepares the actions that are one call.
func (s *Sim) simple(i *Instance, action string, p map[string]string) (*call, error) {
	switch action {
	case "cancel-renewal":
		p["scene"] = "UNSUBSCRIBE_RENEWAL_PERIOD"
		return s.refresh(i, p)
	case "convert":
		p["scene"] = "TRIAL_TO_FORMAL"
		return s.refresh(i, p)
	case "upgrade":
		return s.upgrade(i, p)
	case "check":
		return s.check(i, p), nil
	case "query":
		return s.query(i, p), nil
	case "release":
		return s.release(i, p), nil
	default:
		return nil, fmt.Errorf("huaweisim: action %q is not known", action)
	}
}

// renew renews and, in version 2, thaws what the end of the term froze.
func (s *Sim) renew(i *Instance, p map[string]string) error {
	c, err := s.refresh(i, p)
	if err != nil {
		return err
	}
	s.send(c)
	if i.Version == 2 && i.Suspended {
		s.enqueue(i, s.setStatus(i, false, p))
	}
	return nil
}

// Misbehave switches how Query order fails, how callbacks are repeated, and the
// probabilities of what networks do: repeat, delay and drop_reply.
func (s *Sim) Misbehave(p map[string]string) error {
	query, hasQuery := p["order_query"]
	if p["repair"] != "" { // the page's form cannot send an empty value
		query, hasQuery = queryWell, true
	}
	cadence, hasCadence := p["cadence"]
	switch {
	case hasQuery && !slices.Contains(orderQueries(), query):
		return fmt.Errorf("huaweisim: order_query %q is not known", query)
	case hasCadence && cadence != "burst" && cadence != "hourly":
		return fmt.Errorf("huaweisim: cadence %q is not burst or hourly", cadence)
	}
	faults, err := probabilities(s.sender.Faults(), p)
	if err != nil {
		return err
	}
	s.sender.SetFaults(faults)
	s.mu.Lock()
	defer s.mu.Unlock()
	if hasQuery {
		s.orderQuery = query
	}
	if hasCadence {
		s.cadence = cadence
	}
	return nil
}

// probabilities returns f with what p names.
func probabilities(f sim.Faults, p map[string]string) (sim.Faults, error) {
	for name, to := range map[string]*float64{
		"repeat": &f.Repeat, "delay": &f.Delay, "drop_reply": &f.DropReply,
	} {
		v, given := p[name]
		if !given {
			continue
		}
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || !(n >= 0 && n < 1) {
			return f, fmt.Errorf("huaweisim: %s: %q is not a probability below 1", name, v)
		}
		*to = n
	}
	return f, nil
}

// RotateKey signs with another key from now on.
func (s *Sim) RotateKey(key string) error {
	if key == "" {
		return errors.New("huaweisim: key: missing")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
	return nil
}

// Restart sends the calls again that were given up, as a person does in the
// seller's console.
func (s *Sim) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.stopped {
		s.send(c)
	}
	s.stopped = nil
}
