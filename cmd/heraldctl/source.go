// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
)

// stdinName stands for standard input where a file is named.
const stdinName = "-"

// clusterName stands for the API server where a file is named.
const clusterName = "cluster"

// manifestExtensions are those of the files that are read of a folder, as kubectl
// does.
var manifestExtensions = []string{".yaml", ".yml", ".json"}

// A source is where a configuration is read from.
type source struct {
	files      []string // and folders
	recursive  bool
	cluster    bool // besides files
	kubeconfig string
	place      config.Place
	which      sourceFlag
}

// addFlags adds the flags of a configuration.
func (s *source) addFlags(cmd *cobra.Command, what string) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&s.files, "filename", "f", nil, what+": `file` or folder; - is standard input; may be repeated")
	flags.BoolVarP(&s.recursive, "recursive", "R", false, "read the folders in folders, too")
	s.addPlaceFlags(cmd)
}

// addPlaceFlags adds the flags that say which objects are Herald's.
func (s *source) addPlaceFlags(cmd *cobra.Command) {
	s.which = sourceAuto
	flags := cmd.Flags()
	flags.StringVarP(&s.place.Namespace, "namespace", "n", heraldNamespace, "`namespace` that Herald reads its configuration in")
	flags.StringVar(&s.place.ConfigMap, "config", "config", "`name` of the ConfigMap that Herald reads, as its programs' flag")
	flags.Var(&s.which, "config-source", "which of ConfigMap and resources counts, as the programs' flag: auto, configmap or resources")
}

// configurationHelp says what -f takes.
const configurationHelp = `All files, folders and standard input of one call are one configuration: MetalLB's
custom resources with the Secrets that they refer to, a ConfigMap of MetalLB, or the
document that is in one. Of a folder the files *.yaml, *.yml and *.json are read.
Objects of other kinds are ignored, and those that are not where Herald reads are named.
Kustomize is not for heraldctl: pipe "kubectl kustomize DIR" in.`

// A sourceFlag says which of the two kinds of configuration counts. It is a
// pflag.Value.
type sourceFlag string

const (
	sourceAuto      sourceFlag = "auto"
	sourceConfigMap sourceFlag = "configmap"
	sourceResources sourceFlag = "resources"
)

// String returns f.
func (f *sourceFlag) String() string { return string(*f) }

// Type names what the flag takes.
func (f *sourceFlag) Type() string { return "source" }

// Set takes auto, configmap or resources.
func (f *sourceFlag) Set(s string) error {
	if all := []sourceFlag{sourceAuto, sourceConfigMap, sourceResources}; !slices.Contains(all, sourceFlag(s)) {
		return errors.New("want auto, configmap or resources")
	}
	*f = sourceFlag(s)
	return nil
}

// A text is what a file holds.
type text struct {
	name     string
	data     []byte
	inFolder bool // the folder was named, the file was not
}

// texts returns what the source holds. Its error is about what cannot be read;
// the rest is returned all the same.
func (s source) texts(cmd *cobra.Command) ([]text, error) {
	var all []text
	var errs []error
	for _, name := range s.files {
		found, err := readTexts(cmd, name, s.recursive)
		all, errs = append(all, found...), append(errs, err)
	}
	if s.cluster {
		found, err := readClusterTexts(cmd.Context(), s.kubeconfig, s.place.Namespace)
		all, errs = append(all, found...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// readClusterTexts returns the objects that the cluster's configuration may be in.
func readClusterTexts(ctx context.Context, kubeconfig, namespace string) ([]text, error) {
	client, err := connect(kubeconfig)
	if err != nil {
		return nil, err
	}
	lists, err := kube.ReadManifests(ctx, client, namespace)
	if err != nil {
		return nil, err
	}
	var all []text
	for _, list := range lists {
		all = append(all, text{name: clusterName, data: list})
	}
	return all, nil
}

// readTexts returns what a file holds, standard input, or the manifests of a
// folder.
func readTexts(cmd *cobra.Command, name string, recursive bool) ([]text, error) {
	if name == stdinName {
		data, err := io.ReadAll(cmd.InOrStdin())
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return []text{{name: name, data: data}}, nil
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return readFolder(name, recursive)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return []text{{name: name, data: data}}, nil
}

// readFolder returns the manifests of a folder, in the order of their names.
func readFolder(dir string, recursive bool) ([]text, error) {
	var all []text
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != dir && !recursive:
			return fs.SkipDir
		case d.IsDir() || !slices.Contains(manifestExtensions, strings.ToLower(filepath.Ext(name))):
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		all = append(all, text{name, data, true})
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s: no file *.yaml, *.yml or *.json in it", dir)
		if !recursive {
			err = fmt.Errorf("%w; -R reads the folders in it, too", err)
		}
	}
	return all, err
}

// onStdin counts how many of files are standard input.
func onStdin(files ...string) int {
	n := 0
	for _, name := range files {
		if name == stdinName {
			n++
		}
	}
	return n
}
