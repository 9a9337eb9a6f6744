// Package adapters knows the marketplaces: one line for each.
package adapters

import (
	"fmt"
	"maps"
	"slices"

	"cloudsettle/adapters/alibaba"
	"cloudsettle/adapters/alibaba/alibabasim"
	"cloudsettle/adapters/aws"
	"cloudsettle/adapters/aws/awssim"
	"cloudsettle/adapters/huawei"
	"cloudsettle/adapters/huawei/huaweisim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// What a simulator is started with, and what it is.
type (
	SimConfig  = sim.Config
	SimAttempt = sim.Attempt
	Simulator  = sim.Simulator
)

// kind is all that the program needs of one sort of marketplace.
type kind struct {
	open     func(core.Settings) (core.Marketplace, error)
	simulate func(sim.Config) (sim.Simulator, error)
	// onRelease is what the end of a subscription does to its workspaces
	// unless the listing says otherwise.
	onRelease workspace.Release
	words     Phrases
}

// Phrases are what buyers know of a marketplace: its name, and what to do there
// to come back to our landing page.
type Phrases struct{ Name, Reopen string }

// kinds has one line for each marketplace. Adding one is adding a folder and
// a line here; nothing else in the program names a provider.
var kinds = map[marketplace.Provider]kind{
	"aws":     {aws.Open, simulate(awssim.New), workspace.Lock, Phrases{"AWS Marketplace", "Choose “Set up your account”."}},
	"alibaba": {alibaba.Open, simulate(alibabasim.New), workspace.SettleByWallet, Phrases{"Alibaba Cloud Marketplace", "Open your purchased services and choose “Login directly”."}},
	"huawei":  {huawei.Open, simulate(huaweisim.New), workspace.Lock, Phrases{"Huawei Cloud KooGallery", "Open the purchased service and follow its address."}},
}

// simulate makes a simulator's own constructor one of the interface.
func simulate[S sim.Simulator](start func(sim.Config) (S, error)) func(sim.Config) (sim.Simulator, error) {
	return func(c sim.Config) (sim.Simulator, error) {
		s, err := start(c)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// Words returns what buyers know of each marketplace.
func Words() map[marketplace.Provider]Phrases {
	out := map[marketplace.Provider]Phrases{}
	for p, k := range kinds {
		out[p] = k.words
	}
	return out
}

// Names returns the providers in byte order.
func Names() []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, string(p))
	}
	return out
}

// Known reports whether there is an adapter for p.
func Known(p marketplace.Provider) bool {
	_, ok := kinds[p]
	return ok
}

// Open opens the adapter of l.Provider. Empty fields of l that have a default
// for that provider are filled in.
func Open(l core.Listing, s core.Settings) (core.Marketplace, error) {
	k, ok := kinds[l.Provider]
	if !ok {
		return core.Marketplace{}, fmt.Errorf("listing %s: no adapter for provider %q", l.ID, l.Provider)
	}
	s.Listing = l.ID
	m, err := k.open(s)
	if err != nil {
		return core.Marketplace{}, fmt.Errorf("listing %s: %w", l.ID, err)
	}
	if l.OnRelease == "" {
		l.OnRelease = k.onRelease
	}
	m.Listing = l
	return m, nil
}

// Simulate starts the simulator of a provider.
func Simulate(p marketplace.Provider, c SimConfig) (Simulator, error) {
	k, ok := kinds[p]
	if !ok {
		return nil, fmt.Errorf("listing %s: no simulator for provider %q", c.Listing, p)
	}
	return k.simulate(c)
}

// HostileFaults are the faults that simulators inject when asked to behave as
// real networks do.
func HostileFaults() sim.Faults { return sim.Hostile }
