package main

import (
	"strings"
	"testing"
)

// TestStoreNameHidesPasswords: a store is named in output and in the printed
// configuration, its password never.
func TestStoreNameHidesPasswords(t *testing.T) {
	t.Parallel()
	for store, want := range map[string]string{
		"bolt:data/cloudsettle.db":                          "bolt:data/cloudsettle.db",
		"postgres://ann:sesame@db.example.com/billing":      "postgres://ann:xxxxx@db.example.com/billing",
		"postgres://db.example.com/x?password=sesame&a=b":   "a=b",
		"postgres://ann:sesame@db.example.com:port/billing": "the store",
	} {
		got := masked("store", store)
		if !strings.Contains(got, want) || strings.Contains(got, "sesame") {
			t.Errorf("masked(store, %q) = %q, want %q in it and no password", store, got, want)
		}
	}
}
