package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"
)

// confCmd checks or prints the configuration.
type confCmd struct {
	Check confCheckCmd `cmd:"" help:"Check the configuration, all problems at once."`
	Print confPrintCmd `cmd:"" help:"Print what is in effect as a configuration file, secrets left as references."`
}

type (
	confCheckCmd struct {
		Dev bool `help:"Check what serve --dev asks for: simulators and plain http will do."`
	}
	confPrintCmd struct{}
)

// Run checks the configuration as serve would.
func (c *confCheckCmd) Run(s *streams) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	if err := checkConfig(cfg, c.Dev || isDemo(s.config)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "configuration is good: %d listings, %d sites\n", len(cfg.Listings), len(cfg.Sites))
	return err
}

// checkConfig reports every problem that serve would refuse to start with, as
// far as the configuration alone tells.
func checkConfig(cfg Config, relaxed bool) error {
	if err := cfg.Validate(relaxed); err != nil {
		return err
	}
	log, err := newLogger(io.Discard, cfg.LogLevel)
	if err != nil {
		return err
	}
	_, err = (&app{cfg: cfg, relaxed: relaxed, now: time.Now, log: log}).marketplaces()
	return err
}

// Run prints the configuration as YAML. References to secrets stay references;
// literal ones are masked.
func (c *confPrintCmd) Run(s *streams) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	all, err := keyed(cfg)
	if err != nil {
		return err
	}
	mask(all)
	enc := yaml.NewEncoder(s.out)
	enc.SetIndent(2)
	if err := enc.Encode(all); err != nil {
		return err
	}
	return enc.Close()
}

// keyed turns a configuration into maps with the names that a file has.
func keyed(cfg Config) (map[string]any, error) {
	all, err := named(cfg)
	sites := []map[string]any{}
	for _, s := range cfg.Sites { // structs in a slice stay structs
		site, e := named(s)
		sites, err = append(sites, site), errors.Join(err, e)
	}
	all["sites"] = sites
	return all, err
}

// named turns a struct into a map.
func named(v any) (map[string]any, error) {
	out := map[string]any{}
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{Result: &out, TagName: "koanf"})
	if err != nil {
		return out, err
	}
	return out, d.Decode(v)
}

// mask hides the literal secrets in m, at any depth.
func mask(m map[string]any) {
	for name, v := range m {
		switch v := v.(type) {
		case string:
			m[name] = masked(name, v)
		case map[string]any:
			mask(v)
		case []map[string]any:
			for _, item := range v {
				mask(item)
			}
		}
	}
}

// masked hides a literal value whose name says that it is a secret, and the
// password in the URL of a store.
func masked(name, value string) string {
	if name == "store" {
		return storeName(value)
	}
	secretName := strings.Contains(name, "key") || strings.Contains(name, "secret") || strings.Contains(name, "password")
	if !secretName || value == "" || strings.HasPrefix(value, "env:") || strings.HasPrefix(value, "file:") {
		return value
	}
	return "***"
}
