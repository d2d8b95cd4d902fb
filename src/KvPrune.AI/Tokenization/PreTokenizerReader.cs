using System.Text.Json;
using System.Text.RegularExpressions;

namespace KvPrune.AI.Tokenization;

/// <summary>Reads the entry "pre_tokenizer" of a tokenizer.json.</summary>
internal sealed class PreTokenizerReader
{
    private readonly bool _isByteLevel;
    private readonly List<SplitStep> _steps = [];
    private PreTokenizer.LeadingMark? _mark;
    private bool _begun;
    private bool _ended;

    private PreTokenizerReader(bool isByteLevel) => _isByteLevel = isByteLevel;

    /// <param name="root">The top level.</param>
    /// <param name="isByteLevel">Whether the decoder is ByteLevel: then this has to end with ByteLevel.</param>
    /// <exception cref="TokenizerFormatException">A step that is not supported, or not as it must be.</exception>
    public static PreTokenizer Read(JsonEntry root, bool isByteLevel)
    {
        if (root.Find("pre_tokenizer") is null && !isByteLevel)
            return new PreTokenizer(null, []);
        JsonEntry entry = root.Require("pre_tokenizer", JsonValueKind.Object);
        var reader = new PreTokenizerReader(isByteLevel);
        reader.Add(entry);
        if (isByteLevel && !reader._ended)
            throw entry.Fail("the decoder is ByteLevel, so the last step here has to be.");
        return new PreTokenizer(reader._mark, reader._steps);
    }

    private void Add(JsonEntry entry)
    {
        if (entry.Type == "Sequence")
        {
            entry.Objects("pretokenizers").ForEach(Add);
            return;
        }

        if (_ended)
            throw entry.Fail("nothing is supported after ByteLevel.");
        switch (entry.Type)
        {
            case "ByteLevel":
                AddByteLevel(entry);
                break;
            case "Metaspace":
                AddMetaspace(entry);
                break;
            case "Digits":
                bool single = entry.Flag("individual_digits");
                _steps.Add(new(single ? SplitPattern.Digit : SplitPattern.Digits, SplitBehavior.Isolated));
                break;
            case "Split":
                _steps.Add(new(ReadPattern(entry), ReadBehavior(entry), entry.Flag("invert"), entry.File, entry.Path + ".pattern"));
                break;
            default:
                throw entry.Fail("type", $"only ByteLevel, Metaspace, Digits and Split are supported, not {entry.Type}.");
        }

        _begun = true;
    }

    private void AddByteLevel(JsonEntry entry)
    {
        if (!_isByteLevel)
            throw entry.Fail("type", "ByteLevel is supported with the decoder ByteLevel only.");
        if (entry.Flag("add_prefix_space"))
            SetMark(entry, "add_prefix_space", new(' ', PreTokenizer.MarkedTexts.All));
        if (entry.Flag("use_regex", whenMissing: true))
            _steps.Add(new(SplitPattern.Gpt2, SplitBehavior.Isolated));
        _ended = true;
    }

    private void AddMetaspace(JsonEntry entry)
    {
        string text = entry.Text("replacement");
        if (text.Length != 1 || PieceSplitter.IsStandIn(text[0]))
            throw entry.Fail("replacement", $"'{text}' is not supported.");
        bool marksAll = entry.Flag("add_prefix_space", whenMissing: true);
        string scheme = entry.Find("prepend_scheme") is null ? marksAll ? "always" : "never" : entry.Text("prepend_scheme");
        SetMark(entry, "type", new(text[0], scheme switch
        {
            "never" => PreTokenizer.MarkedTexts.None,
            "first" when marksAll => PreTokenizer.MarkedTexts.FirstOfPrompt,
            "always" when marksAll => PreTokenizer.MarkedTexts.All,
            _ => throw entry.Fail(
                "prepend_scheme", $"always, first or never is expected, as add_prefix_space has it, not {scheme}."),
        }));
        if (entry.Flag("split", whenMissing: true))
            _steps.Add(new(SplitPattern.Literal(text), SplitBehavior.MergedWithNext));
    }

    // It changes the text, which the steps before have cut.
    private void SetMark(JsonEntry entry, string name, PreTokenizer.LeadingMark mark)
    {
        if (_begun)
            throw entry.Fail(name, "text put before a piece is supported in the first step only.");
        _mark = mark;
    }

    private static Regex ReadPattern(JsonEntry entry)
    {
        JsonEntry pattern = entry.Require("pattern", JsonValueKind.Object);
        if (pattern.Find("String") is not null)
        {
            string text = pattern.Text("String");
            return text.Length > 0 && !text.Any(value => char.IsSurrogate(value) || PieceSplitter.IsStandIn(value))
                ? SplitPattern.Literal(text)
                : throw pattern.Fail("String", $"splitting at '{text}' is not supported.");
        }

        string regex = pattern.Text("Regex");
        try
        {
            return SplitPattern.Translate(regex);
        }
        catch (FormatException exception)
        {
            throw new TokenizerFormatException(
                entry.File, pattern.Path + ".Regex", $"the pattern {regex} is not supported: {exception.Message}.", exception);
        }
    }

    private static SplitBehavior ReadBehavior(JsonEntry entry) => entry.Text("behavior") switch
    {
        "Isolated" => SplitBehavior.Isolated,
        "Removed" => SplitBehavior.Removed,
        "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
        "MergedWithNext" => SplitBehavior.MergedWithNext,
        string other => throw entry.Fail(
            "behavior", $"{string.Join(", ", Enum.GetNames<SplitBehavior>())} are supported, not {other}."),
    };
}
