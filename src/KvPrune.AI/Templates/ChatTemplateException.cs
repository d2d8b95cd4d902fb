namespace KvPrune.AI.Templates;

/// <summary>A chat template that cannot be read, uses something unsupported, or failed while rendering.</summary>
public class ChatTemplateException : Exception
{
    /// <summary>Creates the exception; its message leads with the file and, where known, the line.</summary>
    public ChatTemplateException(string file, int line, string problem, Exception? innerException = null)
        : base(line > 0 ? $"{file}, line {line}: {problem}" : $"{file}: {problem}", innerException)
    {
        File = file;
        Line = line;
        Problem = problem;
    }

    /// <summary>The file that holds the template.</summary>
    public string File { get; }

    /// <summary>The line inside the template, counted from 1; 0 when the problem is not in a line of it.</summary>
    public int Line { get; }

    /// <summary>The message without file and line.</summary>
    public string Problem { get; }
}
