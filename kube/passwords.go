// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/wake"
)

// passwordPatience is how long a Secret that was not read yet holds up the document. The
// API server may be unable to return a single Secret, for example to decrypt it.
const passwordPatience = 15 * time.Second

// passwords reads the Secrets that peers refer to, each by its name: nothing of other
// Secrets reaches the process, and a role may be limited to the names. The mutex of its
// Resources guards it.
type passwords struct {
	of       *Resources
	patience time.Duration
	named    map[string]*password
	change   wake.Signal // named has changed
}

// A password is a Secret that a peer refers to.
type password struct {
	*mirror[string, config.PasswordSecret]
	since time.Time // a peer does
}

func newPasswords(r *Resources) *passwords {
	return &passwords{of: r, patience: passwordPatience, named: map[string]*password{}, change: wake.New()}
}

// refer sets the names of the Secrets that peers refer to, and reports whether they are
// others than before.
func (p *passwords) refer(names map[string]bool, now time.Time) (news bool) {
	for name := range names {
		if p.named[name] == nil {
			p.named[name] = &password{p.newMirror(name), now}
			news = true
		}
	}
	for name := range p.named {
		if !names[name] {
			delete(p.named, name)
			news = true
		}
	}
	if news {
		p.change.Set()
	}
	return news
}

func (p *passwords) newMirror(name string) *mirror[string, config.PasswordSecret] {
	return newMirror(kind[*corev1.Secret, string, config.PasswordSecret]{
		from:    func(c *Client) lister { return c.secrets(p.of.opts.Namespace).named(name) },
		strip:   stripSecret,
		row:     passwordSecretOf,
		key:     func(s config.PasswordSecret) string { return s.Name },
		compare: strings.Compare,
	}, mirrorOptions[config.PasswordSecret]{
		mu: &p.of.mu, wake: p.of.renew,
		absent: warnForbidden(p.of.opts.Logger, "resources not read", "Secret "+name), stays: true,
	})
}

// list returns the Secrets in the order of their names, and whether each was read. What
// cannot be read says so.
func (p *passwords) list(now time.Time) (out []config.PasswordSecret, read bool) {
	for _, name := range slices.Sorted(maps.Keys(p.named)) {
		s := p.named[name]
		empty := config.PasswordSecret{Namespace: p.of.opts.Namespace, Name: name}
		switch s.reading {
		case listed:
			out = append(out, s.mirror.list()...)
		case absent:
			empty.Unread = "Herald has no right to; add its name to the Roles herald-agent and herald-controller"
			out = append(out, empty)
		case unread:
			if now.Sub(s.since) < p.patience {
				return nil, false
			}
			empty.Unread = "the API server does not return it"
			out = append(out, empty)
		}
	}
	return out, true
}

// run reads until the context is canceled.
func (p *passwords) run(ctx context.Context) error {
	var g errgroup.Group
	stops := map[*password]func(){}
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-p.change:
		}
		p.of.mu.Lock()
		named, patience := slices.Collect(maps.Values(p.named)), p.patience
		p.of.mu.Unlock()
		for s, stop := range stops {
			if !slices.Contains(named, s) {
				stop()
				delete(stops, s)
			}
		}
		for _, s := range named {
			if stops[s] == nil {
				stops[s] = p.follow(ctx, &g, s, patience)
			}
		}
	}
}

// follow starts to read a Secret, and returns a function that ends it.
func (p *passwords) follow(ctx context.Context, g *errgroup.Group, s *password, patience time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(patience, p.of.renew)
	g.Go(func() error {
		defer late.Stop()
		s.run(ctx, p.of.opts.Client)
		return nil
	})
	return cancel
}

// stripSecret drops everything but a password.
func stripSecret(s *corev1.Secret) {
	s.Annotations, s.Labels = nil, nil
	maps.DeleteFunc(s.Data, func(key string, _ []byte) bool {
		return key != config.PasswordSecretKey || string(s.Type) != config.PasswordSecretType
	})
}

// passwordSecretOf returns what config needs to know of a Secret.
func passwordSecretOf(s *corev1.Secret) config.PasswordSecret {
	p := config.PasswordSecret{Namespace: s.Namespace, Name: s.Name, Type: string(s.Type)}
	password, ok := s.Data[config.PasswordSecretKey]
	if p.HasKey = ok; ok && p.Type == config.PasswordSecretType {
		p.Password = config.NewSecret(string(password))
	}
	return p
}
