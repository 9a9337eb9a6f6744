package core

import "iter"

// The limits of a list.
const (
	DefaultPage = 50
	MaxPage     = 200 // the API's documented limit
)

// List is one page of items. Next continues after it and is "" at the end.
type List[T any] struct {
	Items []T
	Next  string
}

// more asks for one item more than a page holds, to see whether it is the last.
func more(p Page) Page {
	p.Limit++
	return p
}

// listed reads up to one page from seq, which was asked for one item more.
func listed[T any](seq iter.Seq2[T, error], p Page, key func(T) string) (List[T], error) {
	out := List[T]{Items: []T{}}
	for item, err := range seq {
		if err != nil {
			return List[T]{}, err
		}
		if len(out.Items) == p.Limit {
			out.Next = key(out.Items[p.Limit-1])
			break
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

// collect reads all of seq. Use it only where the number is bounded by nature.
func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var out []T
	for item, err := range seq {
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	return out, nil
}
