using System.Buffers;
using System.Collections.ObjectModel;
using System.Runtime.InteropServices;
using System.Text;
using KvPrune.AI.Templates;
using Microsoft.ML.Tokenizers;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// A byte-level BPE tokenizer (GPT-2 and Llama 3 families) read from a tokenizer.json. Safe for concurrent use.
/// </summary>
/// <remarks>
/// The post-processor of the file is not applied: it puts tokens around raw text, while a chat template writes them
/// itself. Added tokens that are not special are treated like special ones: text that a message brings stays ordinary
/// text, so it may be cut into other tokens than Hugging Face's tokenizer makes of it.
/// </remarks>
public sealed class HfTokenizer : IPromptTokenizer
{
    private const int LongPiece = 2000;

    private readonly TokenizerFile _file;
    private readonly BpeTokenizer _bpe;
    private readonly LongPieceEncoder _longPieces;
    private readonly TokenBytes _tokens;
    private readonly AddedTokenScanner _scanner;

    private HfTokenizer(TokenizerFile file)
    {
        _file = file;
        // Without a pre-tokenizer: PieceSplitter cuts the text, because the library's matches UTF-16 code units only.
        _bpe = BpeTokenizer.Create(new BpeOptions(file.Vocabulary) { Merges = file.Merges, ByteLevel = true });
        _longPieces = new LongPieceEncoder(file);
        _tokens = new TokenBytes(file.Vocabulary, file.AddedTokens);
        _scanner = new AddedTokenScanner(file.AddedTokens);
        VocabularySize = _tokens.HighestId + 1;
        SpecialTokens = new ReadOnlyDictionary<string, int>(
            file.AddedTokens.Where(token => token.IsSpecial).ToDictionary(token => token.Content, token => token.Id));
    }

    /// <summary>Reads a tokenizer.json.</summary>
    /// <exception cref="TokenizerFormatException">
    /// The file is missing, broken, contradicts itself or describes another kind of tokenizer; names file and entry.
    /// </exception>
    public static HfTokenizer Load(string tokenizerJsonPath)
    {
        ArgumentException.ThrowIfNullOrEmpty(tokenizerJsonPath);
        return new HfTokenizer(TokenizerFileReader.Read(tokenizerJsonPath));
    }

    /// <summary>The highest token id plus one.</summary>
    public int VocabularySize { get; }

    /// <summary>Special tokens (control tokens) by their text.</summary>
    public IReadOnlyDictionary<string, int> SpecialTokens { get; }

    /// <summary>Whether there is a token with this id.</summary>
    internal bool HasToken(int id) => _tokens.Contains(id);

    bool IPromptTokenizer.HasToken(int id) => HasToken(id);

    EncodedPrompt IPromptTokenizer.Encode(RenderedPrompt prompt) => EncodeWithMarks(prompt);

    int? IPromptTokenizer.CountPrefix(EncodedPrompt whole, RenderedPrompt prefix) => CountPrefix(whole, prefix);

    IStreamingDetokenizer IPromptTokenizer.CreateDetokenizer() => CreateDetokenizer();

    /// <summary>
    /// Encodes plain text: a special token typed in it stays ordinary text. Unpaired surrogates count as U+FFFD.
    /// </summary>
    public int[] Encode(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<int>(text.Length / 2);
        EncodePlain(text, ids);
        return [.. ids];
    }

    /// <summary>
    /// Encodes a prompt: special tokens are recognised only where the template itself wrote every character, and the
    /// text between two of them is encoded as one, so that merges do not depend on where message contents begin and
    /// end.
    /// </summary>
    /// <exception cref="ArgumentException">A span that lies outside the text.</exception>
    public int[] Encode(RenderedPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return EncodeWithMarks(prompt).Tokens;
    }

    /// <summary>As <see cref="Encode(RenderedPrompt)"/>, with what <see cref="CountPrefix"/> has to know.</summary>
    internal EncodedPrompt EncodeWithMarks(RenderedPrompt prompt)
    {
        string text = prompt.Text;
        var marks = new List<EncodedPrompt.Mark>();
        var ids = new List<int>(text.Length / 2);
        int position = 0;
        foreach (AddedTokenScanner.Occurrence occurrence in _scanner.Find(text, Spans.Normalise(prompt)))
        {
            EncodePlain(text.AsSpan(position, occurrence.Start - position), ids);
            ids.Add(occurrence.Token.Id);
            position = occurrence.End;
            marks.Add(new(occurrence, ids.Count));
        }

        EncodePlain(text.AsSpan(position), ids);
        return new EncodedPrompt([.. ids], marks);
    }

    /// <summary>
    /// How many of a prompt's ids another prompt has that is a prefix of it; null if its ids are no prefix. Added tokens
    /// cut a text into parts that are encoded each by itself, so only what follows the last one has to be encoded.
    /// </summary>
    /// <param name="whole">The encoded prompt.</param>
    /// <param name="prefix">A prompt whose text the whole one's begins with.</param>
    internal int? CountPrefix(EncodedPrompt whole, RenderedPrompt prefix)
    {
        List<AddedTokenScanner.Occurrence> found = _scanner.Find(prefix.Text, Spans.Normalise(prefix));
        if (found.Count > whole.Marks.Count)
            return null;
        for (int i = 0; i < found.Count; i++)
        {
            // Equal ends follow, unless the last one takes white space that the prefix no longer has: then nothing is left.
            AddedTokenScanner.Occurrence other = whole.Marks[i].Occurrence;
            if (found[i].Token != other.Token || found[i].Start != other.Start)
                return null;
        }

        int count = found.Count == 0 ? 0 : whole.Marks[found.Count - 1].TokensUpToHere;
        var rest = new List<int>();
        EncodePlain(prefix.Text.AsSpan(found.Count == 0 ? 0 : found[^1].End), rest);
        return whole.Tokens.AsSpan(count).StartsWith(CollectionsMarshal.AsSpan(rest)) ? count + rest.Count : null;
    }

    /// <summary>Text of the tokens; bytes that are not valid UTF-8 become U+FFFD.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An id that the vocabulary does not have.</exception>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var bytes = new ArrayBufferWriter<byte>();
        foreach (int id in ids)
            bytes.Write(_tokens.Get(id, skipSpecialTokens));

        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    /// <summary>A decoder for tokens that arrive one by one.</summary>
    public StreamingDetokenizer CreateDetokenizer() => new(_tokens);

    private void EncodePlain(ReadOnlySpan<char> text, List<int> ids)
    {
        if (text.IsEmpty)
            return;

        string wellFormed = WellFormed(text);
        var pieces = new List<(int Start, int Length)>(text.Length / 4);
        PieceSplitter.Split(wellFormed, _file.SplitPattern, pieces);
        foreach ((int start, int length) in pieces)
        {
            ReadOnlySpan<char> piece = wellFormed.AsSpan(start, length);
            if (_file.WholePiecesFirst && TryFindWholePiece(piece, out int id))
                ids.Add(id);
            else if (length > LongPiece)
                _longPieces.Encode(piece, ids);
            else
                ids.AddRange(_bpe.EncodeToIds(piece, considerPreTokenization: false, considerNormalization: false));
        }
    }

    private bool TryFindWholePiece(ReadOnlySpan<char> piece, out int id)
    {
        byte[] bytes = new byte[Encoding.UTF8.GetByteCount(piece)];
        Encoding.UTF8.GetBytes(piece, bytes);
        return _file.Vocabulary.TryGetValue(string.Create(bytes.Length, bytes, (chars, source) =>
        {
            for (int i = 0; i < chars.Length; i++)
                chars[i] = ByteAlphabet.ToChar(source[i]);
        }), out id);
    }

    private static string WellFormed(ReadOnlySpan<char> text)
    {
        var chars = text.ToArray();
        for (int i = 0; i < chars.Length; i++)
        {
            if (!char.IsSurrogate(chars[i]))
                continue;
            if (char.IsHighSurrogate(chars[i]) && i + 1 < chars.Length && char.IsLowSurrogate(chars[i + 1]))
                i++;
            else
                chars[i] = '\uFFFD';
        }

        return new string(chars);
    }
}
