// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// readPage is how many objects one request of read asks for.
const readPage = 500

// An apiObject is a pointer to one of Kubernetes' types.
type apiObject interface {
	runtime.Object
	metav1.Object
}

// A lister lists and watches objects of one kind.
type lister interface {
	list(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
	kind() string // as RBAC names it, as in "services"
}

// A kind declares where objects of one kind are, and which row Herald keeps of each.
type kind[T apiObject, K comparable, V any] struct {
	name    string               // in messages, as in "Services"
	from    func(*Client) lister // the objects
	strip   func(T)              // optional: drops the bulk of an object that waits for the rest of its list
	row     func(T) V            // the row of an object
	key     func(V) K            // the key of a row
	compare func(K, K) int       // orders rows
	omit    func(V) bool         // optional: a row that has a key and is not kept
	same    func(V, V) bool      // optional: whether rows are equal; nil compares all of them
}

// read returns the rows of all objects that there are now, sorted. It is for
// programs that look once.
func (k kind[T, K, V]) read(ctx context.Context, c *Client) ([]V, error) {
	var rows []V
	from := k.from(c)
	for opts := (metav1.ListOptions{Limit: readPage}); ; {
		page, err := from.list(ctx, opts)
		if err == nil {
			err = meta.EachListItem(page, func(o runtime.Object) error {
				if row := k.row(o.(T)); k.omit == nil || !k.omit(row) {
					rows = append(rows, row)
				}
				return nil
			})
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", k.name, err)
		}
		list, err := meta.ListAccessor(page)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", k.name, err)
		}
		if opts.Continue = list.GetContinue(); opts.Continue == "" {
			break
		}
	}
	slices.SortFunc(rows, func(a, b V) int { return k.compare(k.key(a), k.key(b)) })
	return rows, nil
}
