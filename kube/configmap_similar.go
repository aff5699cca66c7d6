// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/wake"
)

// similarPause separates two requests of a Similar. A thousand agents without a
// configuration must not be felt.
const similarPause = time.Minute

// poolsKey matches the texts that are a configuration.
var poolsKey = regexp.MustCompile(`(?m)^["']?address-pools["']?\s*:`)

// SimilarOptions say where a Similar looks.
type SimilarOptions struct {
	Client    *Client // required
	Namespace string  // required
	Name      string  // required: of the expected ConfigMap
	Wake      func()  // required: called after every change; must not block
}

// A Similar knows the ConfigMaps that hold a configuration under another name than
// the expected one, as MetalLB's chart up to 0.12 made them. It looks for them when
// Names is called, once in similarPause at most.
type Similar struct {
	opts SimilarOptions
	poke wake.Signal

	mu    sync.Mutex // guards the field below
	names []string
}

// NewSimilar returns a Similar that sends no request until it runs.
func NewSimilar(opts SimilarOptions) *Similar {
	return &Similar{opts: opts, poke: wake.New()}
}

// Names returns the known names, sorted.
func (s *Similar) Names() []string {
	s.poke.Set()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names
}

// Run looks until the context is canceled.
func (s *Similar) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.poke:
		}
		if s.look(ctx) {
			s.opts.Wake()
		}
		if !pause(ctx, similarPause) {
			return nil
		}
	}
}

// look reads the names and reports whether they have changed. If they cannot be read,
// they stay.
func (s *Similar) look(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	all, err := s.opts.Client.configMaps(s.opts.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false
	}
	var names []string
	for _, m := range all.Items {
		if m.Name != s.opts.Name && holdsConfiguration(m) {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := !slices.Equal(names, s.names)
	s.names = names
	return changed
}

// holdsConfiguration reports whether a ConfigMap looks like MetalLB's.
func holdsConfiguration(m corev1.ConfigMap) bool { return poolsKey.MatchString(m.Data[configKey]) }
