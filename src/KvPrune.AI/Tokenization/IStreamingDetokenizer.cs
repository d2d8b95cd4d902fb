namespace KvPrune.AI.Tokenization;

/// <summary>Turns the tokens of one text into characters as they arrive.</summary>
internal interface IStreamingDetokenizer
{
    /// <summary>The text that a token completes; an unfinished character is held back.</summary>
    string Append(int id);

    /// <summary>Lets other text stand at this place: U+FFFD for an unfinished character, else nothing. The text goes on.</summary>
    string Interrupt();

    /// <summary>Ends the text: U+FFFD for an unfinished character, else nothing.</summary>
    string Flush();
}
