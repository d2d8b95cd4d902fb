using System.Text;
using Microsoft.ML.Tokenizers;

namespace KvPrune.AI.Tokenization;

/// <summary>Turns the pieces of a text into token ids. Safe for concurrent use.</summary>
internal sealed class PieceEncoder
{
    private const int LongPiece = 2000;

    private readonly BytePairModel _model;
    private readonly BytePairMerger _merger;
    private readonly BpeTokenizer? _shortPieces;
    private readonly Dictionary<Rune, int> _idOfCharacter = [];
    private readonly int[] _idOfByte;

    public PieceEncoder(BytePairModel model)
    {
        _model = model;
        _merger = new BytePairMerger(model);
        if (model.IsByteLevel)
        {
            _idOfByte = [.. Enumerable.Range(0, 256).Select(value => model.Vocabulary[ByteAlphabet.ToChar((byte)value).ToString()])];
            // Without a pre-tokenizer: PieceSplitter cuts the text, because the library's matches UTF-16 code units only.
            _shortPieces = BpeTokenizer.Create(new BpeOptions(model.Vocabulary)
            {
                Merges = model.Merges.Select(merge => $"{merge.Left} {merge.Right}"),
                ByteLevel = true,
            });
            return;
        }

        _idOfByte = model.IdOfByte ?? [];
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
        if (_model.WholePiecesFirst && TryFindWhole(piece, out int id))
            ids.Add(id);
        else if (_shortPieces is not null && piece.Length <= LongPiece)
            ids.AddRange(_shortPieces.EncodeToIds(piece, considerPreTokenization: false, considerNormalization: false));
        else
            _merger.Merge(_model.IsByteLevel ? [.. Utf8(piece).Select(value => _idOfByte[value])] : Characters(piece), ids);
    }

    private bool TryFindWhole(ReadOnlySpan<char> piece, out int id)
    {
        if (!_model.IsByteLevel)
            return _model.Vocabulary.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(piece, out id);
        byte[] bytes = Utf8(piece);
        return _model.Vocabulary.TryGetValue(string.Create(bytes.Length, bytes, (chars, source) =>
        {
            for (int i = 0; i < chars.Length; i++)
                chars[i] = ByteAlphabet.ToChar(source[i]);
        }), out id);
    }

    private int[] Characters(ReadOnlySpan<char> piece)
    {
        var symbols = new List<int>(piece.Length);
        Span<byte> bytes = stackalloc byte[4];
        bool afterUnknown = false;
        foreach (Rune rune in piece.EnumerateRunes())
        {
            bool isUnknown = false;
            if (_idOfCharacter.TryGetValue(rune, out int id))
            {
                symbols.Add(id);
            }
            else if (_model.IdOfByte is not null)
            {
                foreach (byte value in bytes[..rune.EncodeToUtf8(bytes)])
                    symbols.Add(_idOfByte[value]);
            }
            else
            {
                isUnknown = true;
                if (!(afterUnknown && _model.FusesUnknown))
                    symbols.Add(_model.UnknownId!.Value);
            }

            afterUnknown = isUnknown;
        }

        return [.. symbols];
    }

    private static byte[] Utf8(ReadOnlySpan<char> piece)
    {
        var bytes = new byte[Encoding.UTF8.GetByteCount(piece)];
        Encoding.UTF8.GetBytes(piece, bytes);
        return bytes;
    }
}
