using System.Text;
using Microsoft.ML.Tokenizers;

namespace KvPrune.AI.Tokenization;

/// <summary>Turns the pieces of a text into token ids. Safe for concurrent use.</summary>
internal sealed class PieceEncoder
{
    private const int LongPiece = 2000;

    private readonly BytePairMerger _merger;
    private readonly Dictionary<string, int>? _wholePieces;

    // Of a byte-level model.
    private readonly BpeTokenizer? _shortPieces;

    // Of a model over characters.
    private readonly Dictionary<Rune, int> _idOfCharacter = [];
    private readonly int? _unknownId;
    private readonly bool _fusesUnknown;

    private readonly int?[] _idOfByte = [];

    public PieceEncoder(BytePairModel model)
    {
        _merger = new BytePairMerger(model);
        _wholePieces = model.WholePiecesFirst ? model.Vocabulary : null;
        if (model.IsByteLevel)
        {
            _idOfByte =
                [.. Enumerable.Range(0, 256).Select(value => (int?)model.Vocabulary[$"{ByteAlphabet.ToChar((byte)value)}"])];
            // Without a pre-tokenizer: PieceSplitter cuts the text, because the library's matches UTF-16 code units only.
            _shortPieces = BpeTokenizer.Create(new BpeOptions(model.Vocabulary)
            {
                Merges = model.Merges.Select(merge => $"{merge.Left} {merge.Right}"),
                ByteLevel = true,
            });
            return;
        }

        _idOfByte = model.IdOfByte ?? new int?[256];
        _unknownId = model.UnknownId;
        _fusesUnknown = model.FusesUnknown;
        foreach ((string token, int id) in model.Vocabulary)
        {
            if (Rune.TryGetRuneAt(token, 0, out Rune rune) && rune.Utf16SequenceLength == token.Length)
                _idOfCharacter.Add(rune, id);
        }
    }

    /// <param name="piece">Well-formed UTF-16.</param>
    /// <param name="ids">Receives the ids.</param>
    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        if (_wholePieces is not null && TryFindWhole(_wholePieces, piece, out int id))
            ids.Add(id);
        else if (_shortPieces is not null && piece.Length <= LongPiece)
            ids.AddRange(_shortPieces.EncodeToIds(piece, considerPreTokenization: false, considerNormalization: false));
        else
            _merger.Merge(_shortPieces is not null ? Bytes(piece) : Characters(piece), ids);
    }

    private bool TryFindWhole(Dictionary<string, int> tokens, ReadOnlySpan<char> piece, out int id)
    {
        if (_shortPieces is null)
            return tokens.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(piece, out id);
        byte[] bytes = Utf8(piece);
        return tokens.TryGetValue(string.Create(bytes.Length, bytes, (chars, source) =>
        {
            for (int i = 0; i < chars.Length; i++)
                chars[i] = ByteAlphabet.ToChar(source[i]);
        }), out id);
    }

    private int[] Bytes(ReadOnlySpan<char> piece) => Array.ConvertAll(Utf8(piece), value => _idOfByte[value]!.Value);

    // As Hugging Face's tokenizers: a token for unknown characters waits for the next known one, behind bytes in between.
    private int[] Characters(ReadOnlySpan<char> piece)
    {
        var symbols = new List<int>(piece.Length);
        bool unknownWaits = false;
        foreach (Rune rune in piece.EnumerateRunes())
        {
            if (_idOfCharacter.TryGetValue(rune, out int id))
            {
                if (unknownWaits)
                    symbols.Add(_unknownId!.Value);
                unknownWaits = false;
                symbols.Add(id);
            }
            else if (!TryAddBytes(rune, symbols))
            {
                if (unknownWaits && !_fusesUnknown)
                    symbols.Add(_unknownId!.Value);
                unknownWaits = true;
            }
        }

        if (unknownWaits)
            symbols.Add(_unknownId!.Value);
        return [.. symbols];
    }

    private bool TryAddBytes(Rune rune, List<int> symbols)
    {
        Span<byte> bytes = stackalloc byte[4];
        bytes = bytes[..rune.EncodeToUtf8(bytes)];
        foreach (byte value in bytes)
        {
            if (_idOfByte[value] is null)
                return false;
        }

        foreach (byte value in bytes)
            symbols.Add(_idOfByte[value]!.Value);
        return true;
    }

    private static byte[] Utf8(ReadOnlySpan<char> piece)
    {
        var bytes = new byte[Encoding.UTF8.GetByteCount(piece)];
        Encoding.UTF8.GetBytes(piece, bytes);
        return bytes;
    }
}
