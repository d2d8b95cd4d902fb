using System.Runtime.InteropServices;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>GenAI's decoder of a token stream. It gives whole characters only and tells nothing of an unfinished one.</summary>
internal sealed class GenAIDetokenizer : IStreamingDetokenizer
{
    private readonly TokenizerStreamHandle _stream;

    public GenAIDetokenizer(TokenizerHandle tokenizer) => NativeMethods.OgaCreateTokenizerStream(tokenizer, out _stream).ThrowOnFailure();

    public string Append(int id)
    {
        NativeMethods.OgaTokenizerStreamDecode(_stream, id, out nint text).ThrowOnFailure();
        return Marshal.PtrToStringUTF8(text) ?? "";
    }

    public string Interrupt() => "";

    public string Flush()
    {
        _stream.Dispose(); // answers end with this; those that fail leave it to the finalizer
        return "";
    }
}
