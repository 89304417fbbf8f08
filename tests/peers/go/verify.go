// Verifies a published log with golang.org/x/mod/sumdb/tlog and note, which know nothing of plantgate.
//
//	verify FOLDER VKEY [RECEIPT...]
//
// Every entry is hashed and looked up in tiles that are authenticated against the signed root; inclusion and consistency
// proofs are made and checked; receipts (.tlog-proof) are checked against the entry they name. Prints one line, or fails.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type folder string

func (f folder) Height() int                     { return height }
func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}
func (f folder) read(name string) []byte         { return must(os.ReadFile(filepath.Join(string(f), name))) }
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var contents [][]byte
	for _, tile := range tiles {
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1) // C2SP leaves the height out
		content, err := os.ReadFile(filepath.Join(string(f), name))
		if err != nil {
			return nil, err
		}
		contents = append(contents, content)
	}
	return contents, nil
}

func main() {
	log := folder(os.Args[1])
	tree := checkpoint(log.read("checkpoint"), os.Args[2])
	reader := tlog.TileHashReader(tree, log)
	entries := log.entries(tree.N)
	for at := 0; at < len(entries); at += 512 {
		end := min(at+512, len(entries))
		var indexes []int64
		for index := at; index < end; index++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, int64(index)))
		}
		hashes := must(reader.ReadHashes(indexes))
		for index, hash := range hashes {
			if hash != tlog.RecordHash(entries[at+index]) {
				fail("entry %d is not the one in the tree", at+index)
			}
		}
	}
	proofs := 0
	for _, index := range samples(tree.N) {
		proof := must(tlog.ProveRecord(tree.N, index, reader))
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entries[index])))
		then := must(tlog.TreeHash(index+1, reader))
		past := must(tlog.ProveTree(tree.N, index+1, reader))
		check(tlog.CheckTree(past, tree.N, tree.Hash, index+1, then))
		proofs += 2
	}
	for _, name := range os.Args[3:] {
		receipt(must(os.ReadFile(name)), os.Args[2], entries)
	}
	fmt.Printf("verified %d entries, %d proofs, %d receipts\n", tree.N, proofs, len(os.Args)-3)
}

func checkpoint(content []byte, vkey string) tlog.Tree {
	verifier := must(note.NewVerifier(vkey))
	signed := must(note.Open(content, note.VerifierList(verifier)))
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		fail("not a checkpoint of %s: %q", verifier.Name(), signed.Text)
	}
	return tlog.Tree{N: must(strconv.ParseInt(lines[1], 10, 64)), Hash: must(tlog.ParseHash(lines[2]))}
}

func (f folder) entries(size int64) [][]byte {
	var entries [][]byte
	for number := int64(0); number*256 < size; number++ {
		tile := tlog.Tile{H: height, L: 0, N: number, W: int(min(256, size-number*256))}
		content := f.read(strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1))
		for len(content) > 0 {
			length := int(binary.BigEndian.Uint16(content))
			entries = append(entries, content[2:2+length])
			content = content[2+length:]
		}
	}
	if int64(len(entries)) != size {
		fail("%d entries in the bundles of a log of %d", len(entries), size)
	}
	return entries
}

func receipt(content []byte, vkey string, entries [][]byte) {
	head, signed, found := strings.Cut(string(content), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || lines[0] != "c2sp.org/tlog-proof@v1" {
		fail("not a receipt")
	}
	index := must(strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64))
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		proof = append(proof, tlog.Hash(must(base64.StdEncoding.DecodeString(line))))
	}
	tree := checkpoint([]byte(signed), vkey)
	check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entries[index])))
}

func samples(size int64) []int64 {
	var chosen []int64
	for index := int64(0); index < size; index += max(1, size/97) {
		chosen = append(chosen, index)
	}
	return append(chosen, size-1)
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func fail(format string, about ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", about...)
	os.Exit(1)
}
