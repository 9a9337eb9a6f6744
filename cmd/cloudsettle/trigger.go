package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"cloudsettle/adapters"
)

// Limits of the control call between the command line and a simulator.
const (
	triggerPath    = "/_sim/trigger"
	triggerBody    = 64 << 10
	triggerTimeout = 30 * time.Second
)

// errNoSimulator says that nothing at an endpoint takes triggers.
var errNoSimulator = errors.New("no simulator there")

// triggerRequest is the body of a POST to triggerPath.
type triggerRequest struct {
	Event  string            `json:"event"`
	Params map[string]string `json:"params"`
}

// triggerAnswer is its answer.
type triggerAnswer struct {
	Attempt adapters.SimAttempt `json:"attempt"`
	Error   string              `json:"error,omitempty"`
}

// withTrigger lets the command line trigger events of a running simulator.
func withTrigger(sim adapters.Simulator) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", sim)
	mux.HandleFunc("POST "+triggerPath, func(w http.ResponseWriter, r *http.Request) {
		var req triggerRequest
		if err := json.NewDecoder(io.LimitReader(r.Body, triggerBody)).Decode(&req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var answer triggerAnswer
		a, err := sim.Trigger(r.Context(), req.Event, req.Params)
		if answer.Attempt = a; err != nil {
			answer.Error = err.Error()
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
	return mux
}

// remoteTrigger asks the simulator at endpoint to send an event.
func remoteTrigger(ctx context.Context, endpoint, event string, params map[string]string) (adapters.SimAttempt, error) {
	ctx, cancel := context.WithTimeout(ctx, triggerTimeout)
	defer cancel()
	body, err := json.Marshal(triggerRequest{Event: event, Params: params})
	if err != nil {
		return adapters.SimAttempt{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+triggerPath, bytes.NewReader(body))
	if err != nil {
		return adapters.SimAttempt{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return adapters.SimAttempt{}, errNoSimulator
	}
	defer func() { _ = resp.Body.Close() }()
	var answer triggerAnswer
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return adapters.SimAttempt{}, errNoSimulator
	}
	if answer.Error != "" {
		return answer.Attempt, fmt.Errorf("simulator: %s", answer.Error)
	}
	return answer.Attempt, nil
}
