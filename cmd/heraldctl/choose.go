// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/manifest"
)

// twoSources reports a ConfigMap together with resources. Only one of them is in force
// in a cluster. Which one depends on what was in force before, so that the user must
// decide.
func (l *loaded) twoSources(which sourceFlag) {
	i := slices.IndexFunc(l.documents, func(d document) bool { return !d.aside })
	if i < 0 || len(l.resources) == 0 {
		return
	}
	d := l.documents[i]
	f := manifest.Finding{Path: d.name, Line: d.line, Object: d.id, ID: idTwoSources, Severity: manifest.Note}
	switch which {
	case sourceConfigMap:
		f.Message = fmt.Sprintf("it is in force, and the resources of %s are not: --config-source configmap", together(l.resources))
	case sourceResources:
		f.Message = fmt.Sprintf("it is not in force, but the resources of %s are: --config-source resources", together(l.resources))
	default:
		f.Severity = manifest.Error
		f.Message = fmt.Sprintf("resources exist too, in %s, and only one of both can be in force: the one in force stays, and %s; remove one, or choose with --config-source, here and for Herald's programs",
			together(l.resources), l.firstStart())
	}
	l.findings = append(l.findings, f)
}

// firstStart describes which source counts if none was in force.
func (l loaded) firstStart() string {
	if l.resourcesFirst() {
		return "at the very first start it is the resources"
	}
	return "at the very first start it is the ConfigMap"
}

// resourcesFirst reports whether resources count if neither source was in force, as
// source.Sources decides.
func (l loaded) resourcesFirst() bool {
	return slices.ContainsFunc(l.objects, func(o config.Object) bool { return o.Kind == config.KindPool })
}

// loadOne reads the one configuration that counts, for commands that try it. It prints
// the findings, and returns errInvalid if one is an error. Two sources are a warning.
func loadOne(cmd *cobra.Command, s source) (*config.Config, error) {
	l, err := load(cmd, s)
	if err != nil {
		return nil, err
	}
	for i, f := range l.findings {
		if f.ID == idTwoSources && f.Severity == manifest.Error {
			l.findings[i].Severity = manifest.Warning
		}
	}
	if len(l.documents) > 1 {
		d := l.documents[1]
		l.findings = append(l.findings, manifest.Finding{Path: d.name, Line: d.line, Object: d.id, Severity: manifest.Error, ID: manifest.IDDuplicate,
			Message: fmt.Sprintf("a second ConfigMap or document, the first is in %s: a cluster has one", l.documents[0].name)})
	}
	for _, f := range l.findings {
		if f.ID != manifest.IDUnlikely || f.Object != "" { // warnings are for check
			cmd.PrintErrln(f)
		}
	}
	if l.invalid() {
		return nil, errInvalid
	}
	switch {
	case len(l.documents) == 0:
		return l.resolved, nil
	case len(l.resources) == 0 || s.which == sourceConfigMap:
		return l.documents[0].cfg, nil
	case s.which == sourceResources || l.documents[0].aside || l.resourcesFirst():
		return l.resolved, nil
	}
	return l.documents[0].cfg, nil
}

// complete returns an error unless flags name a configuration and objects. Objects is the
// number of files with objects, and flag the name of their flag.
func (s source) complete(objects int, flag string) error {
	switch {
	case !s.named() && !s.cluster:
		return errors.New("no configuration: name one with -f, or give --cluster")
	case objects == 0 && !s.cluster:
		return fmt.Errorf("no objects: name them with --%s, or give --cluster", flag)
	}
	return nil
}

// config reads the configuration of the files, or that of the cluster if there are none.
func (s source) config(cmd *cobra.Command) (*config.Config, error) {
	s.cluster = !s.named()
	return loadOne(cmd, s)
}

// objects reads the Services, and the other objects that a command needs, from files, or
// from the cluster if there are none. It prints the findings, and returns errInvalid if
// one is an error.
func (s source) objects(cmd *cobra.Command, files []string, draft bool,
	fromCluster func(context.Context, *kube.Client) (cluster.Snapshot, error),
) (cluster.Snapshot, error) {
	if len(files) == 0 {
		client, err := s.api.client()
		if err != nil {
			return cluster.Snapshot{}, err
		}
		return fromCluster(cmd.Context(), client)
	}
	texts, err := source{files: files, recursive: s.recursive}.texts(cmd)
	if err != nil {
		return cluster.Snapshot{}, err
	}
	var objects []*manifest.Object
	var findings []manifest.Finding
	for _, t := range texts {
		found, mistakes := manifest.Read(t.name, t.data)
		objects, findings = append(objects, found...), append(findings, mistakes...)
	}
	snapshot, mistakes := object.ReadManifests(objects, draft)
	findings = append(findings, mistakes...)
	manifest.Sort(findings, names(texts))
	for _, f := range findings {
		cmd.PrintErrln(f)
	}
	if has(findings, manifest.Error) {
		return cluster.Snapshot{}, errInvalid
	}
	return snapshot, nil
}
