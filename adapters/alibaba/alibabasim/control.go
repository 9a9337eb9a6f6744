package alibabasim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"cloudsettle/adapters/internal/sim"
)

// maxControl bounds the body of a control request: a few parameters.
const maxControl = 64 << 10

// actionOf translates the short names of the page and the control API.
func actionOf(name string) string {
	switch name {
	case "renew":
		return renewInstance
	case "refund-renewal":
		return refundRenewInstance
	case "upgrade":
		return upgradeInstance
	case "expire":
		return expiredInstance
	case "resume":
		return resumeInstance
	case "release", "cancel":
		return releaseInstance
	}
	return name
}

func (s *Simulator) getState(w http.ResponseWriter, _ *http.Request) {
	all := s.Instances()
	s.mu.Lock()
	state := map[string]any{
		"site": s.listing.Site, "instances": all, "parked": len(s.parked), "stuck": len(s.stuck),
		"faults": s.sender.Faults(), "api_faults": s.api,
	}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, state)
}

func (s *Simulator) getAttempts(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"attempts": s.Attempts()})
}

// postOrder buys. The body is an object of parameters of createInstance.
func (s *Simulator) postOrder(w http.ResponseWriter, r *http.Request) {
	params := map[string]string{}
	if !readControl(w, r, &params) {
		return
	}
	if id := params["orderBizId"]; id == removed {
		refuse(w, http.StatusBadRequest, errors.New("alibabasim: an order needs its orderBizId"))
		return
	}
	writeJSON(w, http.StatusCreated, s.Buy(params))
}

func (s *Simulator) postAction(w http.ResponseWriter, r *http.Request) {
	params := map[string]string{}
	if !readControl(w, r, &params) {
		return
	}
	i, err := s.Do(r.PathValue("id"), actionOf(r.PathValue("action")), params)
	if err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	writeJSON(w, http.StatusOK, i)
}

// postFaults sets the faults of deliveries and of the API. What is not named
// is switched off.
func (s *Simulator) postFaults(w http.ResponseWriter, r *http.Request) {
	var f struct {
		sim.Faults
		API APIFaults `json:"api"`
	}
	if !readControl(w, r, &f) {
		return
	}
	s.sender.SetFaults(f.Faults)
	s.SetAPIFaults(f.API)
	writeJSON(w, http.StatusOK, map[string]any{"faults": f.Faults, "api_faults": f.API})
}

// SetAPIFaults makes the next calls of the API go wrong.
func (s *Simulator) SetAPIFaults(f APIFaults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api = f
}

func (s *Simulator) postRotateKey(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Key string `json:"key"`
	}
	if !readControl(w, r, &body) {
		return
	}
	if body.Key == "" {
		refuse(w, http.StatusBadRequest, errors.New("alibabasim: key: missing"))
		return
	}
	s.SetKey(body.Key)
	writeJSON(w, http.StatusOK, map[string]any{"rotated": true})
}

func (s *Simulator) postRetry(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"retried": s.Retry()})
}

// readControl decodes the body strictly into v; no body leaves v as it is. If
// it cannot, it answers and returns false.
func readControl(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		refuse(w, http.StatusBadRequest, fmt.Errorf("alibabasim: body: %w", err))
		return false
	}
	return true
}

func refuse(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]any{"error": err.Error()})
}
