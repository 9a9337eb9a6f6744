// Package example holds the price list that the program is tried out with: the
// public prices of an observability product in two zones and two currencies.
// It shows how every rule of such a list is written as data.
package example

import (
	"embed"
	"fmt"

	"cloudsettle/core/pricing"
)

//go:embed *.yaml
var files embed.FS

// Names are the files of the price list, one book each.
func Names() []string {
	return []string{"cn-cny.yaml", "intl-cny.yaml", "cn-usd.yaml", "intl-usd.yaml"}
}

// File returns a file of the price list as it is imported.
func File(name string) ([]byte, error) { return files.ReadFile(name) }

// Books returns the price list, without identifiers and versions.
func Books() ([]pricing.Book, error) {
	var books []pricing.Book
	for _, name := range Names() {
		data, err := File(name)
		if err != nil {
			return nil, err
		}
		more, err := pricing.ParseYAML(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		books = append(books, more...)
	}
	return books, nil
}
