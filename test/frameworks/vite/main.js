import createEmotion from '@emotion/css/create-instance';
import './styles.css';
import small from './small.svg';

const nonce = document.querySelector('meta[property=csp-nonce]')?.nonce;
// A style library that inserts its rules at run time.
const { css } = createEmotion({ key: 'shop', ...(nonce && { nonce }) });

const greeting = document.querySelector('#greeting');
greeting.className = css({ color: 'rgb(1, 2, 3)' });
document.querySelector('#small').src = small;

const canvas = new OffscreenCanvas(31, 1);
canvas.getContext('2d').fillRect(0, 0, 1, 1);
document.querySelector('#drawn').src = URL.createObjectURL(await canvas.convertToBlob());

// A part that is loaded when it is needed, with a stylesheet of its own.
const { greet } = await import('./late.js');
greeting.textContent = await greet();
