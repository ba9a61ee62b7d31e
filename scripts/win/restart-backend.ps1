<#
.SYNOPSIS
Restarts the backend and gives a verdict on its new start.

.DESCRIPTION
The same as `inv restart-backend`, for users of the old script of this name.
Returns its exit code: 0 healthy, 3 not healthy, 4 the stack is not up or
is locked by another command.

.PARAMETER Logs
Show the log lines of the new start; -Logs:$false hides them.

.PARAMETER TailLines
Show at most this many lines.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File scripts/win/restart-backend.ps1 -TailLines 100
#>
param(
    # A switch, because `powershell -File` accepts -Logs:$false only for a switch.
    [switch]$Logs = $true,
    [int]$TailLines = 50
)

$inv = Join-Path (Split-Path (Split-Path $PSScriptRoot -Parent) -Parent) 'scripts/inv.py'
$arguments = @('restart-backend', '--tail', "$TailLines")
if (-not $Logs) {
    $arguments += '--no-logs'
}

# Prefer the launcher of python.org's installer.
foreach ($name in 'py', 'python3', 'python') {
    $python = Get-Command $name -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
    if ($python) {
        & $python.Source $inv @arguments
        exit $LASTEXITCODE
    }
}
[Console]::Error.WriteLine("Python not found`n  install Python 3.11 or newer from python.org, then try again")
exit 1
