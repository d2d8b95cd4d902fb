using System.Buffers;
using System.Collections.ObjectModel;
using System.Runtime.InteropServices;
using System.Text;
using KvPrune.AI.Templates;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// A byte-pair encoding tokenizer read from a tokenizer.json: byte-level (GPT-2, Llama 3, Qwen, Phi-4, SmolLM) or over
/// characters with bytes for those that have no token (SentencePiece's: Llama 2, Phi-3, Mistral, Gemma). Safe for
/// concurrent use.
/// </summary>
/// <remarks>
/// The post-processor of the file is not applied: it puts tokens around raw text, while a chat template writes them
/// itself. Added tokens that are not special are treated like special ones: text that a message brings stays ordinary
/// text, so it may be cut into other tokens than Hugging Face's tokenizer makes of it.
/// </remarks>
public sealed class HfTokenizer : IPromptTokenizer
{
    private readonly PromptCutter _cutter;
    private readonly PreTokenizer _preTokenizer;
    private readonly PieceEncoder _pieces;
    private readonly TokenBytes _tokens;

    private HfTokenizer(TokenizerFile file)
    {
        _cutter = new PromptCutter(file);
        _preTokenizer = file.PreTokenizer;
        _pieces = new PieceEncoder(file.Model);
        _tokens = new TokenBytes(file);
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
        EncodePart(_cutter.Plain(text), ids);
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
        var marks = new List<EncodedPrompt.Mark>();
        var ids = new List<int>(prompt.Text.Length / 2);
        foreach (PromptCutter.Part part in _cutter.Cut(prompt))
        {
            EncodePart(part, ids);
            if (part.Token is not { } occurrence)
                continue;
            ids.Add(occurrence.Token.Id);
            marks.Add(new(occurrence, ids.Count));
        }

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
        List<PromptCutter.Part> parts = _cutter.Cut(prefix);
        int marks = parts.Count - 1;
        if (marks > whole.Marks.Count)
            return null;
        for (int i = 0; i < marks; i++)
        {
            // Equal ends follow, unless the last one takes white space that the prefix no longer has: then nothing is left.
            AddedTokenScanner.Occurrence occurrence = parts[i].Token!.Value, other = whole.Marks[i].Occurrence;
            if (occurrence.Token != other.Token || occurrence.Start != other.Start)
                return null;
        }

        int count = marks == 0 ? 0 : whole.Marks[marks - 1].TokensUpToHere;
        var rest = new List<int>();
        EncodePart(parts[^1], rest);
        return whole.Tokens.AsSpan(count).StartsWith(CollectionsMarshal.AsSpan(rest)) ? count + rest.Count : null;
    }

    /// <summary>
    /// Text of the tokens, without the space that SentencePiece puts before a text; bytes that are not valid UTF-8 become
    /// U+FFFD.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">An id that the vocabulary does not have.</exception>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var bytes = new ArrayBufferWriter<byte>();
        int leadingSpaces = _tokens.LeadingSpaces;
        foreach (int id in ids)
            bytes.Write(TokenBytes.WithoutSpaces(_tokens.Get(id, skipSpecialTokens), ref leadingSpaces));

        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    /// <summary>A decoder for tokens that arrive one by one.</summary>
    public StreamingDetokenizer CreateDetokenizer() => new(_tokens);

    private void EncodePart(PromptCutter.Part part, List<int> ids)
    {
        if (part.Text.Length == 0)
            return;
        string text = _preTokenizer.Mark(part.Text, part.StartsPrompt);
        foreach ((int start, int length) in _preTokenizer.Split(text))
            _pieces.Encode(text.AsSpan(start, length), ids);
    }
}
