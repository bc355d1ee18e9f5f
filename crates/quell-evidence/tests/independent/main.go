// Evidence: verifies what quell-evidence writes without one line of it: with
// golang.org/x/mod/sumdb, the code behind Go's checksum database. Never repairs what it reads.
//
//	independent log DIR          a checkpoint, its tiles, entries and proofs
//	independent bundle FILE KEY  a bundle
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

func main() {
	err := errors.New("usage: independent log DIR | independent bundle FILE KEY")
	switch {
	case len(os.Args) == 3 && os.Args[1] == "log":
		err = verifyLog(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "bundle":
		err = verifyBundle(os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

// checkpoint opens a signed note and reads the tree out of it.
func checkpoint(msg []byte, keyFile string) (tlog.Tree, error) {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(msg, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return tlog.Tree{}, errors.New("not a checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// tiles reads the files of a C2SP log; sumdb names the height in its paths, C2SP does not.
type tiles struct{ dir string }

func (t tiles) Height() int { return tileHeight }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

type proofs struct {
	Index       int64       `json:"index"`
	Inclusion   []tlog.Hash `json:"inclusion"`
	Consistency []tlog.Hash `json:"consistency"`
}

func verifyLog(dir string) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	open := func(name string) (tlog.Tree, error) {
		msg, err := os.ReadFile(in(name))
		if err != nil {
			return tlog.Tree{}, err
		}
		return checkpoint(msg, in("key.pub"))
	}
	tree, err := open("checkpoint")
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	held, err := open("held")
	if err != nil {
		return fmt.Errorf("held checkpoint: %w", err)
	}
	data, err := os.ReadFile(in("proofs.json"))
	if err != nil {
		return err
	}
	var given proofs
	if err := json.Unmarshal(data, &given); err != nil {
		return err
	}

	// The reader checks every tile against the root before it gives a hash.
	reader := tlog.TileHashReader(tree, tiles{dir})
	hashes, err := entries(dir, tree.N)
	if err != nil {
		return fmt.Errorf("entries: %w", err)
	}
	for index, hash := range hashes {
		stored, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
		if err != nil {
			return fmt.Errorf("tiles: %w", err)
		}
		if stored[0] != hash {
			return fmt.Errorf("entry %d has not the hash of its tile", index)
		}
	}
	if given.Index < 0 || given.Index >= tree.N {
		return fmt.Errorf("no entry %d", given.Index)
	}
	leaf := hashes[given.Index]
	if err := tlog.CheckRecord(given.Inclusion, tree.N, tree.Hash, given.Index, leaf); err != nil {
		return fmt.Errorf("inclusion: %w", err)
	}
	err = tlog.CheckTree(given.Consistency, tree.N, tree.Hash, held.N, held.Hash)
	if err != nil {
		return fmt.Errorf("consistency: %w", err)
	}
	return sameProofs(given, tree, held, reader)
}

// sameProofs makes both proofs from the tiles and compares them with the given ones.
func sameProofs(given proofs, tree, held tlog.Tree, reader tlog.HashReader) error {
	inclusion, err := tlog.ProveRecord(tree.N, given.Index, reader)
	if err != nil {
		return err
	}
	consistency, err := tlog.ProveTree(tree.N, held.N, reader)
	if err != nil {
		return err
	}
	want := fmt.Sprint([]tlog.Hash(inclusion), []tlog.Hash(consistency))
	if got := fmt.Sprint(given.Inclusion, given.Consistency); got != want {
		return errors.New("the proofs are not those that the tiles give")
	}
	fmt.Printf("verified: %d entries, entry %d, from %d\n", tree.N, given.Index, held.N)
	return nil
}

// entries hashes every entry of every entry bundle.
func entries(dir string, size int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for start := int64(0); start < size; start += 1 << tileHeight {
		width := min(size-start, 1<<tileHeight)
		tile := tlog.Tile{H: tileHeight, L: 0, N: start >> tileHeight, W: int(width)}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		rest, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		for ; width > 0; width-- {
			if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
				return nil, errors.New("an entry is cut off")
			}
			end := 2 + int(binary.BigEndian.Uint16(rest))
			hashes = append(hashes, tlog.RecordHash(rest[2:end]))
			rest = rest[end:]
		}
		if len(rest) > 0 {
			return nil, errors.New("too many entries")
		}
	}
	return hashes, nil
}

type head struct {
	Checkpoint string `json:"checkpoint"`
	Tenant     string `json:"tenant"`
}

// line is one record. Leaf and body are taken as the bytes that stand in the bundle.
type line struct {
	Leaf json.RawMessage  `json:"leaf"`
	Body *json.RawMessage `json:"body"`
	Salt []byte           `json:"salt"`
}

type leaf struct {
	Body   string `json:"body"`
	Prev   string `json:"prev"`
	Seq    int64  `json:"seq"`
	Tenant string `json:"tenant"`
}

func verifyBundle(file, keyFile string) error {
	all, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := bytes.SplitAfter(all, []byte("\n"))
	if len(lines) < 3 || len(lines[len(lines)-1]) != 0 {
		return errors.New("not lines")
	}
	last := lines[len(lines)-2]
	if want := digest(all[:len(all)-len(last)]) + "\n"; want != string(last) {
		return errors.New("digest")
	}
	var top head
	if err := json.Unmarshal(lines[0], &top); err != nil {
		return err
	}
	tree, err := checkpoint([]byte(top.Checkpoint), keyFile)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	stored := store{}
	prev := tlog.Hash{}
	for seq, text := range lines[1 : len(lines)-2] {
		hash, err := record(text, int64(seq), top.Tenant, prev)
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		added, err := tlog.StoredHashesForRecordHash(int64(seq), hash, stored)
		if err != nil {
			return err
		}
		stored = append(stored, added...)
		prev = hash
	}
	count := int64(len(lines) - 3)
	root, err := tlog.TreeHash(count, stored)
	if err != nil {
		return err
	}
	if (tlog.Tree{N: count, Hash: root}) != tree {
		return errors.New("root")
	}
	fmt.Printf("verified: %d records\n", count)
	return nil
}

// record checks one line and gives its leaf hash.
func record(text []byte, seq int64, tenant string, prev tlog.Hash) (tlog.Hash, error) {
	var one line
	if err := json.Unmarshal(text, &one); err != nil {
		return tlog.Hash{}, err
	}
	var l leaf
	if err := json.Unmarshal(one.Leaf, &l); err != nil {
		return tlog.Hash{}, err
	}
	if l.Seq != seq || l.Tenant != tenant || l.Prev != "sha256:"+hex.EncodeToString(prev[:]) {
		return tlog.Hash{}, errors.New("out of order")
	}
	if one.Body != nil && l.Body != digest(append(one.Salt, *one.Body...)) {
		return tlog.Hash{}, errors.New("body")
	}
	return tlog.RecordHash(one.Leaf), nil
}

// store holds all hashes of a tree in the order of sumdb.
type store []tlog.Hash

func (s store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(s)) {
			return nil, errors.New("no such hash")
		}
		found = append(found, s[index])
	}
	return found, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
