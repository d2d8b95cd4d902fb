using System.Runtime.InteropServices;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>Tokenizer, chat template and token sequences.</summary>
internal static unsafe partial class NativeMethods
{
    [LibraryImport(Library)]
    public static partial nint OgaCreateTokenizer(ModelHandle model, out TokenizerHandle tokenizer);

    [LibraryImport(Library)]
    public static partial void OgaDestroyTokenizer(nint tokenizer);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaUpdateTokenizerOptions(TokenizerHandle tokenizer, string[] keys, string[] values, nuint count);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaTokenizerEncode(TokenizerHandle tokenizer, string text, SequencesHandle sequences);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaTokenizerApplyChatTemplate(
        TokenizerHandle tokenizer, string? template, string messages, string? tools,
        [MarshalAs(UnmanagedType.U1)] bool addGenerationPrompt, out TextHandle text);

    [LibraryImport(Library)]
    public static partial nint OgaCreateTokenizerStream(TokenizerHandle tokenizer, out TokenizerStreamHandle stream);

    [LibraryImport(Library)]
    public static partial void OgaDestroyTokenizerStream(nint stream);

    /// <summary>The text belongs to the stream and lasts until its next call.</summary>
    [LibraryImport(Library)]
    public static partial nint OgaTokenizerStreamDecode(TokenizerStreamHandle stream, int token, out nint text);

    [LibraryImport(Library)]
    public static partial nint OgaCreateSequences(out SequencesHandle sequences);

    [LibraryImport(Library)]
    public static partial void OgaDestroySequences(nint sequences);

    [LibraryImport(Library)]
    public static partial nuint OgaSequencesGetSequenceCount(SequencesHandle sequences, nuint index);

    /// <summary>The tokens belong to the sequences.</summary>
    [LibraryImport(Library)]
    public static partial int* OgaSequencesGetSequenceData(SequencesHandle sequences, nuint index);
}
