// SPDX-License-Identifier: Apache-2.0

// Package configsource reads a daemon's configuration from where its flags say.
package configsource

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/cmd/internal/configfile"
	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/source"
)

// A Source reads the configuration: from a file, a ConfigMap or custom resources.
type Source struct {
	source.Documents
	ConfigMap *kube.ConfigMap // nil: no ConfigMap is read
	Resources *kube.Resources // nil: no resources are read

	// Text is the ConfigMap or the file; nil: neither is read.
	Text source.Documents
	// Similar returns the names of other ConfigMaps with a configuration, and Record which
	// source is in force as the leading controller says; nil: they are not read.
	Similar func() []string
	Record  func() (source.Source, bool)

	// Protect is how addresses in use are protected; nil: not at all.
	Protect *source.ProtectOptions

	tasks []func(context.Context) error
}

// New returns the Source that the flags ask for. Wake is called after every change.
// Doubt is called for a list that lacks most of what is known, and is read again.
// Neither may block.
func New(f daemon.Flags, client *kube.Client, wake func(), doubt func(kube.Doubt), log *slog.Logger) (*Source, error) {
	s := &Source{}
	if f.Protect {
		s.Protect = &source.ProtectOptions{Class: f.Class}
	}
	if f.ConfigFile != "" {
		file := configfile.New(f.ConfigFile, wake)
		s.Documents, s.Text, s.tasks = file, file, []func(context.Context) error{file.Run}
		return s, nil
	}
	switch f.Source {
	case "auto", "configmap", "resources":
	default:
		return nil, fmt.Errorf("--config-source %q: want auto, configmap or resources", f.Source)
	}
	if f.Source != "configmap" {
		s.Resources = kube.NewResources(kube.ResourcesOptions{Client: client, Namespace: f.Namespace, Wake: wake, Doubt: doubt, Logger: log})
		s.Documents, s.tasks = s.Resources, append(s.tasks, s.Resources.Run)
	}
	if f.Source != "resources" {
		s.addConfigMap(f, client, wake, doubt)
	}
	return s, nil
}

// addConfigMap makes the ConfigMap a source, in addition to the resources if these are
// read.
func (s *Source) addConfigMap(f daemon.Flags, client *kube.Client, wake func(), doubt func(kube.Doubt)) {
	s.ConfigMap = kube.NewConfigMap(kube.ConfigMapOptions{Client: client, Namespace: f.Namespace, Name: f.Config, Wake: wake, Doubt: doubt})
	similar := kube.NewSimilar(kube.SimilarOptions{Client: client, Namespace: f.Namespace, Name: f.Config, Wake: wake})
	s.Text, s.Similar = s.ConfigMap, similar.Names
	sources := &source.Sources{ConfigMap: s.ConfigMap, Similar: similar.Names}
	s.tasks = append(s.tasks, s.ConfigMap.Run, similar.Run)
	record := kube.NewRecord(kube.RecordOptions{Client: client, Namespace: f.Namespace, Wake: wake})
	s.tasks = append(s.tasks, record.Run)
	if s.Resources != nil {
		sources.Resources, sources.Record = s.Resources, record.Source
		s.Record = record.Source
	}
	if s.Protect != nil {
		s.Protect.Recorded = record.Recorded
	}
	s.Documents = sources
}

// Run reads until the context is canceled.
func (s *Source) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, task := range s.tasks {
		g.Go(func() error { return task(ctx) })
	}
	return g.Wait()
}
